// What was measured, who is best where, the verdicts, and the choices that all of the page follows.

const data = doc.data;
byId("run").textContent = `Report on ${doc.name}`;
byId("data").append(
  el("strong", {}, `${data.name}, split ${data.split}`),
  `: ${grouped(data.pictures, 0)} pictures, ${data.description}; data digest `,
  el("code", { title: data.digest }, data.digest.slice(0, 12)),
  `. ${doc.curves.length} curves, ${doc.points.length} operating points`,
  data.sealed ? "; every payload was decoded in a fresh process." : ".",
);
if (data.synthetic) {
  byId("synthetic").hidden = false;
  byId("synthetic").textContent =
    "These are synthetic faces, not photographs: the figures show that things work, not which codec is better.";
}

function drawBest() {
  const { unit } = metricNamed(doc.rankedBy);
  byId("best").replaceChildren(...doc.best[state.mask].map((entry) => {
    const [first, ...others] = entry.curves;
    const body = first == null ? [el("span", { class: "card-none" }, "no curve spans it")] : [
      el("span", { class: "card-curve" }, swatch(first), el("b", {}, ...breakable(first))),
      el("span", { class: "card-value" }, `${doc.rankedBy} ${shown(entry.values[0], unit)}`),
      el("span", { class: "card-of" }, entry.of === 1 ? "the only curve that spans it"
        : `of ${entry.of} curves that span it`),
      others.length ? el("span", { class: "card-level" }, `no clear difference: ${others.join(", ")}`) : null,
    ];
    if (entry.below) {
      body.push(el("span", { class: "card-level" },
        `${entry.below.curve} is better at ${grouped(entry.below.bytes, 0)} bytes already, where it ends`));
    }
    return el("button", {
      type: "button",
      class: "card",
      "aria-pressed": String(entry.budget === state.budget),
      onclick: () => update({ budget: entry.budget }),
    }, el("span", { class: "card-bytes" }, `${grouped(entry.budget, 0)} bytes`), ...body);
  }));
}

const VERDICTS_SHOWN = 3;

function drawVerdicts() {
  const items = doc.verdicts[state.mask].map((pieces) =>
    el("li", {}, ...pieces.map((piece) => (piece.strong ? el("strong", {}, piece.text) : piece.text))));
  const parts = [];
  if (items.length) {
    parts.push(el("h2", { class: "small" }, `Verdicts on learned codecs, over ${WHERE[state.mask]}`));
    parts.push(el("ul", { class: "verdicts" }, ...items.slice(0, VERDICTS_SHOWN)));
  }
  if (items.length > VERDICTS_SHOWN) {
    parts.push(el("details", {}, el("summary", {}, `${items.length - VERDICTS_SHOWN} more`),
      el("ul", { class: "verdicts" }, ...items.slice(VERDICTS_SHOWN))));
  }
  byId("verdicts").replaceChildren(...parts);
}

for (const mask of doc.masks) {
  const radio = el("input", { type: "radio", name: "mask", value: mask, checked: mask === state.mask,
    onchange: () => update({ mask }) });
  byId("mask").append(el("label", {}, radio, el("span", {}, mask === "face" ? "Face" : "Whole pictures")));
}
if (doc.masks.length < 2) byId("mask").hidden = true;
byId("metric").append(...doc.metrics.map((metric) =>
  el("option", { value: metric.name, selected: metric.name === state.metric }, metric.name)));
byId("metric").addEventListener("change", (event) => update({ metric: event.target.value }));
byId("budget").append(el("option", { value: "" }, "all operating points"),
  ...doc.budgets.map((size) => el("option", { value: size }, grouped(size, 0))));
byId("budget").addEventListener("change", (event) => {
  update({ budget: event.target.value ? Number(event.target.value) : null });
});
byId("filter").addEventListener("input", (event) => update({ filter: event.target.value }));
byId("toolbar").addEventListener("submit", (event) => event.preventDefault());

function drawSummary(changes) {
  if ("mask" in changes || "budget" in changes) keepingFocus(byId("best"), drawBest);
  if ("mask" in changes) drawVerdicts();
  if ("budget" in changes) byId("budget").value = state.budget ?? "";
}
listeners.push(drawSummary);
drawSummary({ mask: state.mask, budget: state.budget });
