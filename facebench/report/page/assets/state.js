// The document, what is chosen on the page, and how texts and numbers are shown.

const doc = JSON.parse(document.getElementById("document").textContent);
const byId = (id) => document.getElementById(id);
const NONE = "–";

const state = {
  mask: doc.masks[0],
  metric: doc.rankedBy,
  budget: busiestBudget(), // null: all operating points
  filter: "",
  hidden: new Set(doc.curves.filter((curve) => curve.lossless).map((curve) => curve.name)),
  focus: null, // the curve that stands out in the chart
  printing: false,
  picked: null, // the operating point that was clicked last
};
const listeners = [];

/** Change the state and tell everyone who shows it. */
function update(changes) {
  Object.assign(state, changes);
  for (const listener of listeners) listener(changes);
}

/** The budget at which most curves have a value, the largest of equals; null without any. */
function busiestBudget() {
  let found = null;
  let most = 0;
  for (const entry of doc.best[doc.masks[0]]) {
    if (entry.of && entry.of >= most) [most, found] = [entry.of, entry.budget];
  }
  return found;
}

/** Make an element; texts are only ever set as text. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Draw anew what is in `container`; a button in it that had the focus keeps it, by its place. */
function keepingFocus(container, draw, otherwise = null) {
  const buttons = () => [...container.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  draw();
  if (place >= 0) (buttons()[place] ?? otherwise)?.focus({ preventScroll: true });
}

const metricNamed = (name) => doc.metrics.find((metric) => metric.name === name);
const numeric = (value) => (value == null ? null : Number(value));
const WHERE = { none: "whole pictures", face: "the face" };

/** A metric's value: two decimals for dB, else four decimals, or three significant digits below 0.01. */
function shown(value, unit = "") {
  const number = numeric(value);
  if (number === null || Number.isNaN(number)) return NONE;
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "-∞";
  if (unit === "dB") return number.toFixed(2);
  if (number === 0 || Math.abs(number) >= 0.01) return number.toFixed(4);
  return number.toFixed(Math.min(9, 2 - Math.floor(Math.log10(Math.abs(number)))));
}

function interval(low, high, unit) {
  return low == null || high == null ? "" : `[${shown(low, unit)}, ${shown(high, unit)}]`;
}

const grouped = (value, decimals) =>
  value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

function bytes(value) {
  return value == null ? NONE : grouped(value, value < 1000 ? 1 : 0);
}

function weightsSize(size) {
  if (!size) return NONE;
  return size >= 1e6 ? `${(size / 1e6).toFixed(2)} MB` : `${(size / 1e3).toFixed(1)} kB`;
}

/** Whether a curve or point passes the filter: any of the words between commas is in its name. */
function passes(name) {
  const words = state.filter.toLowerCase().split(/[\s,]+/).filter(Boolean);
  return !words.length || words.some((word) => name.toLowerCase().includes(word));
}

// A codec has a colour and a marker, its further curves a dash each. Hues are told apart by colour-blind readers
// (after Okabe & Ito 2008 and P. Tol); the baseline and JPEG have their own and are drawn thicker.
const DASHES = [[], [8, 4], [2, 4], [10, 4, 2, 4]];
const MARKERS = 7;
const HUES = 9;
const styles = new Map();
{
  const codecs = new Map();
  const curvesOf = new Map();
  for (const curve of doc.curves) {
    const special = curve.baseline ? "ink" : curve.codec === "jpeg" ? "jpeg" : null;
    if (!special && !codecs.has(curve.codec)) codecs.set(curve.codec, codecs.size);
    const order = codecs.get(curve.codec) ?? 0;
    const variant = curvesOf.get(curve.codec) ?? 0;
    curvesOf.set(curve.codec, variant + 1);
    styles.set(curve.name, {
      colour: special ? `--curve-${special}` : `--curve-${order % HUES}`,
      marker: special ? 0 : 1 + (order % (MARKERS - 1)),
      dash: DASHES[variant % DASHES.length],
      width: special ? 3 : 1.75,
    });
  }
}
const colourOf = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

/** Trace marker number `kind` of radius `r` at (x, y). */
function traceMarker(path, kind, x, y, r) {
  const corners = [
    null,
    [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    [[0, -1.4], [1.4, 0], [0, 1.4], [-1.4, 0]],
    [[0, -1.3], [1.2, 1], [-1.2, 1]],
    [[0, 1.3], [1.2, -1], [-1.2, -1]],
    [[-0.45, -1.3], [0.45, -1.3], [0.45, -0.45], [1.3, -0.45], [1.3, 0.45], [0.45, 0.45], [0.45, 1.3], [-0.45, 1.3],
      [-0.45, 0.45], [-1.3, 0.45], [-1.3, -0.45], [-0.45, -0.45]],
    [[-1.3, 0], [-0.4, -1.2], [1.1, -0.8], [1.1, 0.8], [-0.4, 1.2]],
  ][kind];
  if (!corners) {
    path.arc(x, y, r, 0, 2 * Math.PI);
    return;
  }
  corners.forEach(([dx, dy], index) => path[index ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
  path.closePath();
}

const SVG = "http://www.w3.org/2000/svg";

/** A small drawing of a curve's line and marker; null for what is on no curve. */
function swatch(name) {
  const style = styles.get(name);
  if (!style) return null;
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "swatch");
  drawing.setAttribute("viewBox", "0 0 30 12");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", "M0 6H30");
  line.setAttribute("stroke", `var(${style.colour})`);
  line.setAttribute("stroke-width", style.width);
  line.setAttribute("stroke-dasharray", style.dash.join(" "));
  const commands = [];
  traceMarker({
    arc: (x, y, r) => commands.push(`M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`),
    moveTo: (x, y) => commands.push(`M${x} ${y}`),
    lineTo: (x, y) => commands.push(`L${x} ${y}`),
    closePath: () => commands.push("Z"),
  }, style.marker, 15, 6, 3.5);
  const marker = document.createElementNS(SVG, "path");
  marker.setAttribute("d", commands.join(""));
  marker.setAttribute("fill", `var(${style.colour})`);
  drawing.append(line, marker);
  return drawing;
}

/** A name that may break at its colons, not within its words. */
function breakable(name) {
  return name.split(/(?<=:)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part]));
}

const pointNamed = new Map(doc.points.map((point) => [point.label, point]));
