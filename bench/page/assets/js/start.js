// Starts the leaderboard at once and every other table when it is opened.
(() => {
  page.startBoard(document.querySelector("#leaderboard table.board"));
  for (const details of document.querySelectorAll(".board-details")) {
    details.addEventListener("toggle", () => details.open && page.startBoard(details.querySelector("table.board")));
  }
  for (const table of document.querySelectorAll("table.heat")) page.makeReachable(table);
  const form = document.getElementById("filters");
  let waiting = 0;
  form.addEventListener("input", () => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(page.applyFilters, 60);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => window.setTimeout(page.applyFilters, 0));
  document.getElementById("cell")?.addEventListener("change", page.chooseCell);
  page.applyFilters();
  document.documentElement.dataset.ready = "yes";
})();
