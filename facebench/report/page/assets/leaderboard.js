// The leaderboard: operating points as they are, or curves at one number of bytes, sorted by any column.

const sorting = { key: null, descending: false };

/** What a column is called, how its value is had for sorting, and how it is shown. */
function boardColumns() {
  const columns = [];
  const atBudget = state.budget !== null;
  columns.push({ key: "rank", title: "rank", value: (row) => row.rank, show: (row) => row.rankText, number: true });
  columns.push({ key: "name", title: atBudget ? "curve" : "operating point", value: (row) => row.name, show: nameCell });
  if (!atBudget) {
    columns.push(
      { key: "bytes", title: "bytes", value: (row) => row.bytes, show: (row) => bytes(row.bytes), number: true },
      { key: "ratio", title: "ratio", value: (row) => row.ratio, number: true,
        show: (row) => (row.ratio == null ? NONE : grouped(row.ratio, 1)) },
    );
  }
  for (const metric of doc.metrics) {
    const { name, unit } = metric;
    columns.push({ key: name, title: name, number: true, descending: Boolean(metric.higher_is_better),
      chosen: name === state.metric,
      value: (row) => numeric(row.metrics[name]?.[0]), show: (row) => shown(row.metrics[name]?.[0], unit) });
    if (name === state.metric) {
      columns.push({ key: "ci", title: "95 % CI", number: true, chosen: true,
        value: (row) => numeric(row.metrics[name]?.[1]),
        show: (row) => interval(row.metrics[name]?.[1], row.metrics[name]?.[2], unit) });
    }
  }
  columns.push({ key: "weights", title: "decoder\nweights", number: true, value: (row) => row.weights,
    show: (row) => weightsSize(row.weights) });
  if (atBudget) {
    columns.push({ key: "span", title: "measured from, to", value: (row) => row.span?.[0], show: (row) => row.spanText });
  }
  return columns;
}

function boardRows() {
  return (state.budget === null ? pointRows() : curveRows()).filter((row) => passes(row.name));
}

function pointRows() {
  return doc.points.filter((point) => point.budget == null && point.rows[state.mask]).map((point) => {
    const row = point.rows[state.mask];
    return { name: point.label, curve: point.curve, point: point.label, notes: point.notes, weights: point.weights,
      rank: point.rank, rankText: point.rank == null ? NONE : String(point.rank), ...row };
  });
}

function curveRows() {
  const rows = doc.curves.map((curve) => {
    const at = doc.atBytes[state.mask][curve.name][state.budget];
    return { name: curve.name, curve: curve.name, point: null, notes: [], weights: curve.weights, span: curve.span,
      spanText: spanText(curve), rank: at.rank, metrics: at.metrics,
      rankText: at.rank == null ? NONE : `${at.rank}${at.shared ? " =" : ""}` };
  });
  const own = doc.points.filter((point) => point.budget === state.budget && point.rows[state.mask]).map((point) => {
    const row = point.rows[state.mask];
    const share = data.pictures ? (100 * row.pictures) / data.pictures : 0;
    return { name: point.label, curve: point.curve, point: point.label, notes: point.notes,
      weights: point.weights, rank: null, rankText: NONE, metrics: row.metrics, span: [row.bytes],
      spanText: `tuned to fit: ${bytes(row.bytes)} B on average, ${grouped(share, 1)} % fit` };
  });
  return [...rows, ...own];
}

function spanText(curve) {
  if (!curve.span) return "no curve: points with failures";
  const [low, high] = curve.span.map(bytes);
  return curve.count === 1 ? `${low} B, 1 point` : `${low} to ${high} B, ${curve.count} points`;
}

function nameCell(row) {
  const marks = row.notes.map((note) => el("sup", { title: note }, String(noteNumber(note))));
  const button = el("button", { type: "button", class: "link", onclick: () => {
    if (row.point) pick(row.point);
    else update({ focus: row.curve });
  } }, ...breakable(row.name));
  return el("span", { class: "name" }, swatch(row.curve), button, ...marks);
}

let notes = [];

function noteNumber(note) {
  if (!notes.includes(note)) notes.push(note);
  return notes.indexOf(note) + 1;
}

/** Compare by a column; rows without a value come last either way. */
function sorted(rows, column) {
  const sign = sorting.descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (a == null || b == null) return (a == null) - (b == null);
    return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  });
}

function drawBoard() {
  const columns = boardColumns();
  let column = columns.find((entry) => entry.key === sorting.key);
  if (!column) {
    column = columns.find((entry) => entry.key === state.metric);
    sorting.descending = Boolean(column.descending);
  }
  notes = [];
  const heads = columns.map((entry) => {
    const direction = entry === column ? (sorting.descending ? "descending" : "ascending") : null;
    return el("th", { scope: "col", "aria-sort": direction, class: entry.number ? "number" : null },
      el("button", { type: "button", onclick: () => {
        const again = entry === column;
        sorting.descending = again ? !sorting.descending : Boolean(entry.descending);
        sorting.key = entry.key;
        redrawBoard();
      } }, entry.title, el("span", { class: "arrow", "aria-hidden": "true" },
        { ascending: "▲", descending: "▼" }[direction] ?? "")));
  });
  const body = sorted(boardRows(), column).map((row) => el("tr", { class: row.curve === state.focus ? "focus" : null },
    ...columns.map((entry) => (entry.key === "name"
      ? el("th", { scope: "row" }, entry.show(row))
      : el("td", { class: [entry.number ? "number" : "", entry.chosen ? "chosen" : ""].join(" ").trim() || null },
        entry.show(row))))));
  byId("board").replaceChildren(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...body));
  byId("leaderboard-notes").replaceChildren(
    ...notes.map((note, index) => el("li", {}, el("sup", {}, String(index + 1)), ` ${note}`)));
  byId("leaderboard-about").textContent = state.budget === null
    ? `All operating points over ${WHERE[state.mask]}. Ranked by ${doc.rankedBy} over whole pictures, whatever the bytes; ` +
      "equal ranks: no significant difference. Choose a number of bytes for the fair comparison."
    : `Each curve at ${grouped(state.budget, 0)} bytes, over ${WHERE[state.mask]}: interpolated between its own operating ` +
      `points, ${NONE} outside them. Ranked by ${doc.rankedBy}; "=": no significant difference within that rank.`;
}

const redrawBoard = () => keepingFocus(byId("board"), drawBoard);

listeners.push((changes) => {
  if ("metric" in changes || "budget" in changes) sorting.key = null;
  if (Object.keys(changes).some((name) => ["mask", "metric", "budget", "filter", "focus"].includes(name))) redrawBoard();
});
drawBoard();
