// The worst pictures of each curve, and where all figures come from.

const WORST_SHOWN = 6;

function worstName([name, value, size], found) {
  const { unit } = metricNamed(doc.rankedBy);
  const text = `${name} (${shown(value, unit)}, ${grouped(size, 0)} B)`;
  const budget = worstBudget();
  if (!viewable() || !shots.pictures.some((entry) => entry.name === name)) return el("span", {}, text);
  return el("button", { type: "button", class: "link", onclick: () => {
    lookAtPicture(name, { budget, a: found.curve, b: ORIGINAL });
  } }, text);
}

/** The chosen bytes, or those of most curves. */
function worstBudget() {
  return state.budget ?? busiestBudget() ?? doc.budgets[0];
}

function drawWorst() {
  const budget = worstBudget();
  byId("worst-about").textContent =
    `The pictures with the worst ${doc.rankedBy} over whole pictures, for the operating point of each curve at about ` +
    `${grouped(budget, 0)} bytes.${viewable() ? " Names in blue are in the viewer." : ""}`;
  const rows = (doc.worst[budget] ?? []).filter((found) => passes(found.curve)).map((found) => {
    const items = found.pictures.map((picture) => el("li", {}, worstName(picture, found)));
    const more = items.length > WORST_SHOWN
      ? el("details", {}, el("summary", {}, `${items.length - WORST_SHOWN} more`),
        el("ol", { start: WORST_SHOWN + 1 }, ...items.slice(WORST_SHOWN)))
      : null;
    return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "name" }, swatch(found.curve), el("span", {}, ...breakable(found.point)))),
      el("td", { class: "number" }, bytes(found.bytes)),
      el("td", {}, el("ol", { class: "worst-list" }, ...items.slice(0, WORST_SHOWN)), more));
  });
  const heads = [["operating point"], ["bytes", "number"], ["worst pictures, the worst first"]];
  byId("worst-table").replaceChildren(
    el("thead", {}, el("tr", {}, ...heads.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
    el("tbody", {}, ...rows));
}

function table(label, heads, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first),
      ...rest.map((cell) => el("td", {}, cell)))))));
}

function drawProvenance() {
  const { points, runs } = doc.provenance;
  const parts = runs.map((origin) => el("dl", { class: "facts" }, ...Object.entries(origin).flatMap(([name, text]) => [
    el("dt", {}, name), el("dd", {}, name === "command" ? el("code", {}, text) : text || NONE)])));
  if (data.problems.length) {
    parts.push(el("h3", {}, "Problems met"), el("ul", {}, ...data.problems.map((problem) => el("li", {}, problem))));
  }
  parts.push(el("h3", {}, "Metrics"), el("dl", { class: "metrics" }, ...doc.metrics.flatMap((metric) => [
    el("dt", {}, metric.name, el("small", {}, ` version ${metric.version}, ` +
      `${metric.higher_is_better ? "higher" : "lower"} is better${metric.unit ? `, in ${metric.unit}` : ""}`)),
    el("dd", {}, metric.definition)])));
  parts.push(el("details", {}, el("summary", {}, `Codecs: versions, weights and settings of ${points.length} operating points`),
    table("Codecs", ["operating point", "version", "brought by", "weights digest", "trained on", "settings"],
      points.map((point) => [point.label, point.version || NONE, point.origin || NONE,
        point.weightsDigest ? el("code", { title: point.weightsDigest }, point.weightsDigest.slice(0, 12)) : NONE,
        point.trainedOn || NONE, point.settings || NONE]))));
  byId("provenance-body").append(...parts);
}

listeners.push((changes) => {
  if ("budget" in changes || "filter" in changes) drawWorst();
});
drawWorst();
drawProvenance();
