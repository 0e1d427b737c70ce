// The rate-distortion chart: log bytes against a metric, a band for each curve's 95 % interval.

const NEAR_PIXELS = 26;
let plot = null;
let drawn = []; // the curves on the chart, in the order of their series
let hovered = null;
const tooltip = el("div", { class: "tooltip", hidden: true });

const linesNow = () => doc.lines[state.mask][state.metric];

const PRINTED_WIDTH = 640;

function chartSize() {
  const width = state.printing ? PRINTED_WIDTH : byId("plot").clientWidth;
  return { width, height: Math.round(Math.min(520, Math.max(320, 0.62 * width))) };
}

/** 1, 2 and 5 times the powers of ten within a range. */
function roundSizes(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of [1, 2, 5]) {
      const size = factor * 10 ** power;
      if (size >= low && size <= high) found.push(size);
    }
  }
  return found;
}

/** Blank out sizes whose texts would touch the one before. */
function readable(u, splits) {
  let end = -Infinity;
  return splits.map((size) => {
    const [place, half] = [u.valToPos(size, "x"), 4 * grouped(size, 0).length];
    if (place - half < end + 4) return null;
    end = place + half;
    return size;
  });
}

function axis(ink, line, more) {
  return {
    stroke: ink,
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
    labelSize: 22,
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 5 },
    ...more,
  };
}

function chartOptions(metric) {
  const [ink, line] = ["--ink-soft", "--line"].map(colourOf);
  const series = [{}];
  const bands = [];
  for (const curve of drawn) {
    const style = styles.get(curve.name);
    const colour = colourOf(style.colour);
    const base = series.length;
    series.push({ stroke: colour, width: style.width, dash: style.dash, points: { show: false } });
    for (let edge = 0; edge < 2; edge += 1) series.push({ stroke: "transparent", width: 0, points: { show: false } });
    bands.push({ series: [base + 2, base + 1], fill: `${colour}2e` });
  }
  const unit = metric.unit ? ` (${metric.unit})` : "";
  return {
    ...chartSize(),
    series,
    bands,
    legend: { show: false },
    cursor: { points: { show: false }, drag: { x: true, y: true, uni: 30, dist: 8 } },
    scales: {
      x: { time: false, distr: 3, range: (_, low, high) => [low * 0.88, high * 1.14] },
      y: { range: (_, low, high) => {
        const room = 0.05 * (high - low || Math.abs(high) || 1);
        return [low - room, high + room];
      } },
    },
    axes: [
      axis(ink, line, {
        label: "bytes per picture (mean, log scale)",
        splits: (_, __, low, high) => roundSizes(low, high),
        filter: readable,
        size: 34,
        values: (_, splits) => splits.map((size) => (size === null ? "" : grouped(size, 0))),
      }),
      axis(ink, line, { label: `${metric.name}${unit}, ${metric.higher_is_better ? "higher" : "lower"} is better`,
        size: 58 }),
    ],
    hooks: { draw: [drawMarkers] },
  };
}

function drawChart() {
  plot?.destroy();
  plot = null;
  const lines = linesNow();
  drawn = doc.curves.filter((curve) => lines[curve.name] && passes(curve.name) && !state.hidden.has(curve.name));
  const metric = metricNamed(state.metric);
  byId("chart-about").textContent =
    `${metric.name} over ${WHERE[state.mask]}, ${metric.higher_is_better ? "higher" : "lower"} is better. Bands: 95 % ` +
    "bootstrap interval over identities. Click a point to pick it; drag to zoom in.";
  if (!drawn.length) {
    byId("plot").replaceChildren(el("p", { class: "empty" }, "No curve is chosen."));
    return;
  }
  const data = uPlot.join(drawn.map((curve) => {
    const points = lines[curve.name];
    return [1, 2, 3, 4].map((column) => points.map((point) => numeric(point[column])));
  }));
  byId("plot").replaceChildren();
  plot = new uPlot(chartOptions(metric), data, byId("plot"));
  plot.over.append(tooltip);
  plot.over.addEventListener("pointermove", (event) => hover(event));
  plot.over.addEventListener("pointerleave", () => hover(null));
  let pressed = null;
  plot.over.addEventListener("pointerdown", (event) => { pressed = event; });
  plot.over.addEventListener("pointerup", (event) => {
    const moved = pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
    const near = nearest(event);
    if (near && moved < 5) pick(near.label);
  });
  fade();
}

/** The drawn points with their places in pixels of the plotting area. */
function placed() {
  const lines = linesNow();
  return drawn.flatMap((curve, order) => lines[curve.name].map(([label, size, value]) => ({
    label, size, curve: curve.name, order,
    x: plot.valToPos(size, "x"), y: plot.valToPos(numeric(value), "y"),
  })));
}

function nearest(event) {
  const box = plot.over.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null;
  let least = NEAR_PIXELS;
  for (const point of placed()) {
    const distance = Math.hypot(point.x - x, point.y - y);
    if (distance < least) [least, found] = [distance, point];
  }
  return found;
}

function hover(event) {
  const near = event && nearest(event);
  plot.over.classList.toggle("on-point", Boolean(near));
  tooltip.hidden = !near;
  if (near) {
    const row = pointNamed.get(near.label).rows[state.mask];
    tooltip.replaceChildren(
      el("b", {}, ...breakable(near.label)),
      el("span", {}, `${bytes(row.bytes)} bytes, ${row.ratio == null ? NONE : grouped(row.ratio, 1)} : 1`),
      el("dl", {}, ...doc.metrics.flatMap(({ name, unit }) => {
        const [value, low, high] = row.metrics[name];
        return [el("dt", {}, name), el("dd", {}, shown(value, unit), " ",
          name === state.metric ? el("small", {}, interval(low, high, unit)) : null)];
      })),
    );
    const right = near.x > plot.over.clientWidth / 2;
    tooltip.style.left = right ? "" : `${near.x + 14}px`;
    tooltip.style.right = right ? `${plot.over.clientWidth - near.x + 14}px` : "";
    tooltip.style.top = `${Math.max(0, Math.min(near.y - 20, plot.over.clientHeight - tooltip.offsetHeight))}px`;
  }
  if ((near?.label ?? null) !== hovered) {
    hovered = near?.label ?? null;
    fade(near?.curve);
  }
}

/** Let all curves but one stand back; none without a name. */
function fade(name = state.focus) {
  if (!plot) return;
  const known = drawn.some((curve) => curve.name === name);
  plot.series.forEach((series, index) => {
    series.alpha = !index || !known || drawn[Math.floor((index - 1) / 3)].name === name ? 1 : 0.22;
  });
  plot.redraw(false);
}

function drawMarkers(u) {
  const { ctx } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  const lines = linesNow();
  drawn.forEach((curve, order) => {
    const style = styles.get(curve.name);
    ctx.globalAlpha = u.series[1 + 3 * order]?.alpha ?? 1;
    ctx.fillStyle = colourOf(style.colour);
    for (const [label, size, value] of lines[curve.name]) {
      const [x, y] = [u.valToPos(size, "x", true), u.valToPos(numeric(value), "y", true)];
      const stands = label === state.picked || label === hovered;
      ctx.beginPath();
      traceMarker(ctx, style.marker, x, y, (stands ? 5.5 : style.width > 2 ? 4 : 3.2) * ratio);
      ctx.fill();
      if (stands) {
        ctx.globalAlpha = 1;
        ctx.lineWidth = 2 * ratio;
        ctx.strokeStyle = colourOf("--accent");
        ctx.beginPath();
        ctx.arc(x, y, 10 * ratio, 0, 2 * Math.PI);
        ctx.stroke();
      }
    }
  });
  ctx.restore();
}

/** Choose an operating point: it stands out on the chart, and the viewer shows it where it has its pictures. */
function pick(label) {
  update({ picked: label, focus: pointNamed.get(label).curve });
}

function drawPicked() {
  const point = pointNamed.get(state.picked);
  if (!point) return;
  const row = point.rows[state.mask];
  const { name, unit } = metricNamed(state.metric);
  byId("picked").replaceChildren(
    el("b", {}, point.label), `: ${bytes(row.bytes)} bytes, ${name} ${shown(row.metrics[name][0], unit)}. `,
    el("a", { href: "#viewer" }, "See its pictures"), " ",
    el("button", { type: "button", class: "quiet", onclick: () => {
      byId("picked").replaceChildren();
      update({ picked: null, focus: null });
    } }, "Clear"),
  );
}

function drawLegend() {
  const lines = linesNow();
  byId("legend").replaceChildren(...doc.curves.filter((curve) => passes(curve.name)).map((curve) => el("li", {},
    el("button", {
      type: "button",
      "aria-pressed": String(!state.hidden.has(curve.name)),
      disabled: !lines[curve.name],
      onclick: () => {
        if (!state.hidden.delete(curve.name)) state.hidden.add(curve.name);
        update({ hidden: state.hidden });
      },
      onpointerenter: () => fade(curve.name),
      onpointerleave: () => fade(),
      onfocus: () => fade(curve.name),
      onblur: () => fade(),
    }, swatch(curve.name), el("span", {}, ...breakable(curve.name),
      curve.baseline ? el("small", {}, " baseline") : null, curve.lossless ? el("small", {}, " lossless") : null)))));
}

function drawChartTable() {
  const { name, unit } = metricNamed(state.metric);
  const lines = linesNow();
  const rows = drawn.flatMap((curve) => lines[curve.name].map(([label, size, value, low, high]) => el("tr", {},
    el("th", { scope: "row" }, el("button", { type: "button", class: "link", onclick: () => pick(label) }, label)),
    el("td", {}, bytes(size)), el("td", {}, shown(value, unit)), el("td", {}, interval(low, high, unit)))));
  const heads = ["operating point", "bytes", name, "95 % CI"].map((title) => el("th", { scope: "col" }, title));
  byId("chart-table").querySelector("div").replaceChildren(
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
}

byId("all-curves").addEventListener("click", () => {
  for (const curve of doc.curves) if (passes(curve.name)) state.hidden.delete(curve.name);
  update({ hidden: state.hidden });
});
byId("no-curves").addEventListener("click", () => {
  for (const curve of doc.curves) if (passes(curve.name)) state.hidden.add(curve.name);
  update({ hidden: state.hidden });
});
byId("reset-zoom").addEventListener("click", drawChart);

listeners.push((changes) => {
  const names = Object.keys(changes);
  if (names.some((name) => ["mask", "metric", "filter", "hidden", "theme"].includes(name))) {
    drawChart();
    keepingFocus(byId("legend"), drawLegend);
    drawChartTable();
  } else if ("picked" in changes || "focus" in changes) fade();
  if (names.some((name) => ["mask", "metric", "picked"].includes(name))) drawPicked();
});
new ResizeObserver(() => {
  const size = chartSize();
  if (plot && size.width && size.width !== plot.width) plot.setSize(size);
}).observe(byId("plot"));
drawChart();
drawLegend();
drawChartTable();
