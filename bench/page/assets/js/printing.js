// On paper all rows and the protocol are shown, and charts are drawn in the colours and the size of paper.
(() => {
  let opened = [];

  const prepare = (printing) => {
    if (page.printing === printing) return;
    page.printing = printing;
    if (printing) opened = [...document.querySelectorAll("#protocol > details:not([open])")];
    for (const details of opened) details.open = printing;
    for (const board of page.boards.values()) {
      if (board.rows().count() > page.pageLength) board.page.len(printing ? -1 : page.pageLength).draw();
    }
    page.figures.forEach(page.renewChart);
  };
  window.addEventListener("beforeprint", () => prepare(true));
  window.addEventListener("afterprint", () => prepare(false));
  window.matchMedia("print").addEventListener("change", (event) => prepare(event.matches));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.figures.forEach(page.renewChart));
})();
