// The filters above the leaderboard work on every table, on the charts and on the heat maps.
page.fits = (row) => {
  const wanted = page.filter;
  return (
    (!wanted.part || row.part === wanted.part) &&
    (!wanted.data || row.data === wanted.data) &&
    (!wanted.backbone || row.backbone === wanted.backbone) &&
    (!wanted.family || row.family === wanted.family) &&
    (!wanted.text || row.text.includes(wanted.text))
  );
};

page.showsKey = (key) => {
  const { family, text } = page.filter;
  const row = page.data.rows[key];
  return !row || ((!family || row.family === family) && (!text || page.data.runs[key].method.toLowerCase().includes(text)));
};

page.applyFilters = () => {
  const form = document.getElementById("filters");
  for (const name of Object.keys(page.filter)) page.filter[name] = form.elements[name]?.value ?? "";
  page.filter.text = page.filter.text.trim().toLowerCase();
  for (const board of page.boards.values()) board.draw();
  const main = page.boards.get(document.querySelector("#leaderboard table.board"));
  const { recordsDisplay: fitting, recordsTotal: all } = main.page.info();
  document.getElementById("count").textContent = fitting === all ? `${all} rows` : `${fitting} of ${all} rows`;
  page.chooseCell();
};

// Of the cells only those that fit the filters can be chosen; where the chosen one does not fit, the first that does.
page.chooseCell = () => {
  const choice = document.getElementById("cell");
  if (!choice) return;
  const fits = (option) => ["part", "data", "backbone"].every((name) => !page.filter[name] || option.dataset[name] === page.filter[name]);
  for (const option of choice.options) option.hidden = option.disabled = !fits(option);
  if (choice.selectedOptions[0]?.disabled !== false) {
    const first = [...choice.options].find((option) => !option.disabled);
    if (first) choice.value = first.value;
  }
  for (const part of document.querySelectorAll(".cell-part")) part.hidden = part.dataset.cell !== choice.value;
  for (const row of document.querySelectorAll(".heat tbody tr")) row.hidden = !page.showsKey(row.dataset.key);
  page.drawCharts(choice.value);
};
