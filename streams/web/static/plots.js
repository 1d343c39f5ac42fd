"use strict";
// Draws the plots of /plots.json with uPlot, a figure for each, and refreshes them every few seconds.

(() => {
  const place = document.getElementById("plots");
  const charts = new Map(); // {figure, chart, labels} by name of the plot
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dashes = [[], [6, 4], [2, 3]];
  const shown = (value, unit) =>
    value == null ? "–" : `${value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : 0 })} ${unit}`;

  const latest = (values) => values.findLast((value) => value != null);

  function figure(plot) {
    const element = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = plot.unit ? `${plot.title}, ${plot.unit}` : plot.title;
    element.append(caption);
    place.append(element);
    return element;
  }

  const clock = (stamps) => {
    const day = stamps.at(-1) - stamps[0] > 2 * 86400;
    const style = day ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    return stamps.map((stamp) => new Date(stamp * 1000).toLocaleString(undefined, style));
  };

  function draw(plot, times, box) {
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const lines = plot.lines.map((line, n) => ({
      label: line.label,
      stroke: colour(`--series-${(n % 6) + 1}`),
      dash: dashes[Math.floor(n / 6) % dashes.length],
      width: 1.5,
      spanGaps: false,
      points: { size: 4 },
      value: ({ data }, value, line, at) => shown(at == null ? latest(data[line]) : value, plot.unit),
    }));
    return new uPlot(
      {
        width: box.clientWidth - 2,
        height: 180,
        cursor: { y: false },
        axes: [{ ...axis, values: (_, stamps) => clock(stamps) }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en")) }],
        scales: { y: { range: (_, low, high) => [Math.min(low, 0) * 1.08, Math.max(high, 1) * 1.08] } },
        series: [{ label: "At", value: (_, time) => (time == null ? "latest" : new Date(time * 1000).toLocaleString()) }, ...lines],
      },
      [times, ...plot.lines.map((line) => line.values)],
      box,
    );
  }

  function description(plot) {
    const lines = plot.lines.map((line) => `${line.label} ${shown(latest(line.values), plot.unit)}`);
    return `${plot.title}. Latest: ${lines.join(", ") || "nothing yet"}.`;
  }

  function show({ times, plots }) {
    for (const plot of plots) {
      const labels = plot.lines.map((line) => line.label).join("\n");
      let entry = charts.get(plot.name);
      if (!entry) charts.set(plot.name, (entry = { figure: figure(plot), chart: null, labels: null }));
      if (entry.labels !== labels) {
        entry.chart?.destroy();
        entry.chart = draw(plot, times, entry.figure);
        entry.labels = labels;
        const canvas = entry.figure.querySelector("canvas");
        canvas.setAttribute("role", "img");
      } else {
        entry.chart.setData([times, ...plot.lines.map((line) => line.values)]);
      }
      entry.figure.querySelector("canvas").setAttribute("aria-label", description(plot));
    }
  }

  function redraw() {
    for (const entry of charts.values()) entry.labels = null;
    refresh();
  }

  async function refresh() {
    try {
      const answer = await fetch(place.dataset.from);
      if (answer.ok) show(await answer.json());
    } catch {
      // the worker does not answer: the plots stay as they are until the next refresh
    }
  }

  refresh();
  if (Number(place.dataset.every)) setInterval(refresh, 1000 * place.dataset.every);
  dark.addEventListener("change", redraw);
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width) return;
    width = place.clientWidth;
    for (const { figure, chart } of charts.values()) chart?.setSize({ width: figure.clientWidth - 2, height: 180 });
  }).observe(place);
})();
