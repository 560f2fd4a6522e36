// The runs behind a number: shown beside the cell that the pointer or the focus is on.
(() => {
  const box = document.getElementById("runs");
  let shown = null;
  let leaving = 0;

  const valueText = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 1 ? value.toFixed(2) : value.toPrecision(3));

  const fill = (key, name) => {
    const row = page.data.runs[key];
    const column = page.data.columns[name];
    if (!row || !column || !row.runs.length) return false;
    const source = column.of ?? name;
    const own = row.values[source];
    const base = column.of && row.base ? page.data.runs[row.base] : null;
    const baseValues = new Map();
    if (base && base.values[source]) base.runs.forEach((run, place) => baseValues.set(run[0], base.values[source][place]));
    const table = page.element("table");
    table.append(page.element("caption", `${row.method}: ${column.text}`));
    const head = table.createTHead().insertRow();
    const names = ["seed", "run", "status"];
    if (own) names.push(column.of ? page.data.columns[source]?.text ?? source : "value");
    if (own && baseValues.size) names.push(base.method);
    for (const text of names) head.append(page.element("th", text));
    const body = table.createTBody();
    row.runs.forEach(([seed, id, status, reason], place) => {
      const line = body.insertRow();
      line.append(page.element("td", String(seed)), page.element("td", id || "–"));
      line.append(page.element("td", status, status === "ok" ? "" : "failed"));
      if (own) line.append(page.element("td", valueText(own[place])));
      if (own && baseValues.size) line.append(page.element("td", valueText(baseValues.get(seed))));
      if (reason) line.cells[2].title = reason;
    });
    box.replaceChildren(table);
    const timed = ["ratio", "step_ms", "images_per_second", "peak_memory_mib", "passes_per_step"].includes(name);
    if (timed && row.timing) box.replaceChildren(page.element("p", `${row.method}: ${row.timing}`));
    if (!timed && !own) box.append(page.element("p", "The table forms this number from several recorded ones."));
    return true;
  };

  const place = (cell) => {
    const around = cell.getBoundingClientRect();
    const size = box.getBoundingClientRect();
    const left = Math.min(Math.max(8, around.left), window.innerWidth - size.width - 8);
    const below = around.bottom + 6;
    const top = below + size.height < window.innerHeight ? below : Math.max(8, around.top - size.height - 6);
    box.style.left = `${Math.max(4, left)}px`;
    box.style.top = `${top}px`;
  };

  const hide = () => {
    box.hidden = true;
    shown?.removeAttribute("aria-describedby");
    shown = null;
  };

  const show = (cell) => {
    window.clearTimeout(leaving);
    if (cell === shown) return;
    hide();
    if (!fill(cell.parentElement.dataset.key, page.columnOf(cell))) return;
    shown = cell;
    cell.setAttribute("aria-describedby", "runs");
    box.hidden = false;
    place(cell);
  };

  const later = () => {
    window.clearTimeout(leaving);
    leaving = window.setTimeout(() => {
      if (shown && shown !== document.activeElement) hide();
    }, 150);
  };

  const cellOf = (target) => (target instanceof Element ? target.closest("td") : null);

  document.addEventListener("mouseover", (event) => {
    if (box.contains(event.target)) return window.clearTimeout(leaving);
    const cell = cellOf(event.target);
    if (cell && page.columnOf(cell)) show(cell);
    else later();
  });
  document.addEventListener("focusin", (event) => {
    const cell = cellOf(event.target);
    if (cell === event.target && page.columnOf(cell)) show(cell);
    else if (!box.contains(event.target)) hide();
  });
  document.addEventListener("click", (event) => {
    const cell = cellOf(event.target);
    if (cell && page.columnOf(cell)) page.moveTo(cell);
    else if (!box.contains(event.target)) hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  window.addEventListener("scroll", () => shown && place(shown), { passive: true, capture: true });
})();
