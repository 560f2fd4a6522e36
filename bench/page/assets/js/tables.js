// Sorting, paging and the keyboard in tables.
page.pageLength = 50;

(() => {
  const missing = (value) => value === "" || value === null || value === undefined;
  const compare = (sign) => (a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return sign * (Number(a) - Number(b));
  };
  DataTable.type("measure", "order", { asc: compare(1), desc: compare(-1) });
  DataTable.ext.errMode = "throw";
})();

page.startBoard = (table) => {
  if (page.boards.has(table)) return page.boards.get(table);
  const heads = [...table.tHead.rows[0].cells];
  const numbers = heads.flatMap((head, place) => (head.classList.contains("number-head") ? [place] : []));
  const texts = heads.flatMap((head, place) => (head.classList.contains("number-head") ? [] : [place]));
  const rows = [...table.tBodies[0].rows].map((row) => ({
    part: row.dataset.part,
    data: row.dataset.data,
    backbone: row.dataset.backbone,
    family: row.dataset.family,
    text: row.cells[0].querySelector(".method").textContent.toLowerCase(),
  }));
  const made = new DataTable(table, {
    order: [],
    autoWidth: false,
    pageLength: page.pageLength,
    paging: rows.length > page.pageLength,
    info: rows.length > page.pageLength,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    columnDefs: [
      { targets: numbers, type: "measure", orderSequence: ["desc", "asc"] },
      { targets: texts, type: "string", orderSequence: ["asc", "desc"] },
    ],
    language: { emptyTable: "No runs.", zeroRecords: "No row fits the filters." },
  });
  made.search.fixed("filters", (text, cells, place) => page.fits(rows[place]));
  made.on("draw", () => page.makeReachable(table));
  page.boards.set(table, made);
  made.draw();
  return made;
};

// One cell of a table takes part in the order of the Tab key; the arrow keys move from it to the others.
page.makeReachable = (table) => {
  const current = table.querySelector("tbody td[tabindex='0']");
  if (current) return;
  for (const other of table.querySelectorAll("tbody td[tabindex]")) other.removeAttribute("tabindex");
  const first = [...(table.tBodies[0].rows[0]?.cells ?? [])].find((cell) => page.columnOf(cell));
  if (first) first.tabIndex = 0;
};

page.columnOf = (cell) => {
  if (!cell || cell.tagName !== "TD") return "";
  const table = cell.closest("table.board, table.heat");
  return table?.tHead.rows[0].cells[cell.cellIndex]?.dataset.column ?? "";
};

page.moveTo = (cell) => {
  const table = cell.closest("table");
  for (const other of table.querySelectorAll("tbody td[tabindex='0']")) other.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
  cell.scrollIntoView({ block: "nearest", inline: "nearest" });
};

document.addEventListener("keydown", (event) => {
  const cell = event.target;
  if (!(cell instanceof HTMLTableCellElement) || !page.columnOf(cell)) return;
  const row = cell.parentElement;
  const moves = {
    ArrowLeft: () => row.cells[cell.cellIndex - 1],
    ArrowRight: () => row.cells[cell.cellIndex + 1],
    ArrowUp: () => row.previousElementSibling?.cells[cell.cellIndex],
    ArrowDown: () => row.nextElementSibling?.cells[cell.cellIndex],
  };
  const next = moves[event.key]?.();
  if (!moves[event.key]) return;
  event.preventDefault();
  if (page.columnOf(next)) page.moveTo(next);
});
