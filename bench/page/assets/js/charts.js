// Charts of the chosen cell, drawn by Plotly in the colours of the page.
page.palettes = {
  light: ["#0b5cad", "#b4500a", "#1a7a4c", "#8a3fa0", "#a5203a", "#4f6228", "#00727f", "#7a5200", "#5b5bd6", "#99006b"],
  dark: ["#7cb8f5", "#f2a65a", "#6fd3a0", "#d19be8", "#ff8fa3", "#c0d67a", "#5fd0de", "#e3c15c", "#a9a9ff", "#ff85d0"],
};
page.dashes = ["solid", "dash", "dot", "dashdot"];
page.symbols = ["circle", "square", "diamond", "triangle-up", "x", "cross"];
page.mostLabels = 20;

page.look = (place, base) => {
  const palette = page.palettes[page.dark() ? "dark" : "light"];
  const round = Math.floor(place / palette.length);
  return {
    colour: base ? page.colour("--text") : palette[place % palette.length],
    dash: page.dashes[round % page.dashes.length],
    symbol: page.symbols[round % page.symbols.length],
  };
};

// Names stand beside the points where no two would cover each other; else the legend has them.
page.labelled = (traces) => {
  if (traces.length > page.mostLabels) return false;
  const points = traces.flatMap((trace) => trace.x.map((x, place) => ({ x, y: trace.y[place] })));
  const span = (axis) => Math.max(...points.map((one) => one[axis])) - Math.min(...points.map((one) => one[axis]));
  const [wide, high] = [0.3 * span("x"), 0.08 * span("y")];
  return !points.some((one, place) =>
    points.slice(place + 1).some((other) => Math.abs(one.x - other.x) <= wide && Math.abs(one.y - other.y) <= high));
};

page.traces = (chart, choice) => {
  const keys = [...new Set(chart.choices.flatMap((one) => one.traces.map((trace) => trace.key)))];
  const shown = page.shown(choice);
  const labelled = page.labelled(shown);
  const known = shown.flatMap((trace) => trace.x);
  const middle = (Math.min(...known) + Math.max(...known)) / 2;
  const drawn = shown.map((trace) => {
    const look = page.look(keys.indexOf(trace.key), trace.base);
    const points = trace.mode === "markers";
    const reach = (axis) =>
      trace[`${axis}_low`] && {
        type: "data",
        symmetric: false,
        array: trace[`${axis}_high`].map((value, place) => Math.max(0, value - trace[axis][place])),
        arrayminus: trace[`${axis}_low`].map((value, place) => Math.max(0, trace[axis][place] - value)),
        color: look.colour,
        thickness: 1,
        width: points ? 3 : 0,
      };
    return {
      type: "scatter",
      mode: points ? (labelled ? "markers+text" : "markers") : "lines+markers",
      name: trace.name,
      x: trace.x,
      y: trace.y,
      text: points ? trace.x.map(() => trace.name) : undefined,
      textposition: trace.x.map((x) => (x > middle ? "top left" : "top right")),
      textfont: { color: look.colour, size: 12 },
      hovertext: trace.hover,
      hoverinfo: "text",
      error_x: reach("x"),
      error_y: reach("y"),
      marker: { color: look.colour, symbol: look.symbol, size: points ? 10 : 6 },
      line: { color: look.colour, dash: look.dash, width: trace.base ? 2.5 : 1.75 },
      cliponaxis: true,
    };
  });
  if (choice.identity) {
    const line = { color: page.colour("--quiet"), dash: "dot", width: 1 };
    drawn.push({ type: "scatter", mode: "lines", x: [0, 100], y: [0, 100], name: "calibrated", hoverinfo: "skip", line });
  }
  return drawn;
};

page.shown = (choice) => choice.traces.filter((trace) => page.showsKey(trace.key));

// Half of an A4 sheet on its side, with room for the legend: when a browser asks for paper, the page still has the width
// of the screen.
page.paper = (traces) => ({ width: 490, height: 230 + 9 * traces });

page.layout = (choice) => {
  const axis = (title) => ({
    title: { text: title, standoff: 8 },
    gridcolor: page.colour("--rule"),
    zeroline: false,
    linecolor: page.colour("--quiet"),
    automargin: true,
  });
  const narrow = window.innerWidth < 640;
  return {
    margin: { l: 50, r: 12, t: 12, b: 44 },
    paper_bgcolor: page.colour("--surface"),
    plot_bgcolor: page.colour("--surface"),
    font: { color: page.colour("--text"), family: "system-ui, sans-serif", size: page.printing ? 10 : narrow ? 11 : 12 },
    hoverlabel: { bgcolor: page.colour("--surface"), font: { color: page.colour("--text") }, align: "left", namelength: -1 },
    xaxis: axis(choice.x),
    yaxis: axis(choice.y),
    showlegend: choice.traces[0].mode === "lines" || !page.labelled(page.shown(choice)),
    legend: { orientation: "h", y: -0.22, yanchor: "top", x: 0 },
    hovermode: "closest",
    dragmode: narrow ? false : "zoom",
    ...(page.printing ? page.paper(page.shown(choice).length) : {}),
  };
};

page.drawChart = (figure) => {
  const { chart } = figure;
  const choice = page.choiceOf(figure);
  const config = {
    responsive: !page.printing,
    displaylogo: false,
    displayModeBar: window.innerWidth < 640 ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
  };
  Plotly.react(figure.plot, page.traces(chart, choice), page.layout(choice), config);
};

page.choiceOf = (figure) => figure.chart.choices[figure.choice?.value ?? 0];

// Words at once, the drawing when the chart comes near the screen.
page.renewChart = (figure) => {
  const { chart } = figure;
  const choice = page.choiceOf(figure);
  const told = page.shown(choice).length;
  figure.caption.textContent = chart.choices.length > 1 ? `${choice.label}. ${chart.about}` : chart.about;
  figure.plot.setAttribute("aria-label", `${chart.title}: ${choice.label}. ${chart.about} ${told} methods are drawn.`);
  figure.stale = true;
  page.drawIfNear(figure);
};

page.drawIfNear = (figure) => {
  if (!figure.stale || !(figure.near || page.printing)) return;
  figure.stale = false;
  page.drawChart(figure);
};

page.nearness = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const figure = page.figures.find((one) => one.plot === entry.target);
      if (!figure) continue;
      figure.near = entry.isIntersecting;
      page.drawIfNear(figure);
    }
  },
  { rootMargin: "400px" },
);

page.figures = [];
page.drawCharts = (cell) => {
  const grid = document.getElementById("chart-grid");
  if (!grid) return;
  if (grid.dataset.cell !== cell) {
    page.nearness.disconnect();
    for (const figure of page.figures) Plotly.purge(figure.plot);
    page.figures = (page.data.cells[cell] ?? []).map(page.makeFigure);
    grid.replaceChildren(...page.figures.map((figure) => figure.element));
    grid.dataset.cell = cell;
    for (const figure of page.figures) page.nearness.observe(figure.plot);
  }
  page.figures.forEach(page.renewChart);
};

page.makeFigure = (chart) => {
  const figure = { chart, element: page.element("figure", undefined, "chart"), plot: page.element("div", undefined, "plot") };
  figure.element.dataset.chart = chart.id;
  figure.plot.setAttribute("role", "img");
  figure.element.append(page.element("h3", chart.title));
  if (chart.choices.length > 1) {
    const label = page.element("label", "Shown");
    figure.choice = page.element("select");
    chart.choices.forEach((choice, place) => figure.choice.append(new Option(choice.label, String(place))));
    figure.choice.addEventListener("change", () => page.renewChart(figure));
    label.append(figure.choice);
    figure.element.append(label);
  }
  figure.caption = page.element("figcaption");
  figure.element.append(figure.plot, figure.caption);
  return figure;
};
