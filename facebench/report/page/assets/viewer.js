// The viewer: one picture as two codecs leave it at about the same bytes, a divider between them.

const ORIGINAL = "original";
const ERROR_TOP = 64; // the difference, in grey levels, that gets the brightest colour of the error map
const CLOSE = Math.log(1.25); // sides within this factor of the bytes are preferred to show first
const ZOOMS = [1, 1.5, 2, 3, 4, 6];
const shots = doc.pictures;
const view = { picture: 0, budget: null, a: null, b: ORIGINAL, error: false, mask: false, zoom: 0, split: 50 };
let parts = null; // of the viewer, once it is built

const viewable = () => parts !== null;
const setsAt = (budget) => shots.sets.filter((set) =>
  set.budget === budget && shots.decoded[set.point].images.some((image) => image));
const setOf = (curve) => (curve === ORIGINAL ? null : setsAt(view.budget).find((set) => set.curve === curve));
const budgetsWithPictures = () => doc.budgets.filter((size) => setsAt(size).length);

/** Keep both sides where the bytes have them; else the best curve against the usual codecs. */
function settle() {
  const off = (set) => Math.abs(Math.log(set.bytes / set.budget)) > CLOSE;
  const sets = setsAt(view.budget);
  const names = [...sets.filter((set) => !off(set)), ...sets.filter(off)].map((set) => set.curve);
  const best = doc.best[doc.masks[0]].find((entry) => entry.budget === view.budget)?.curves ?? [];
  const known = names.filter((name) => /^(jpeg|webp|avif)\b/.test(name));
  if (!names.includes(view.a) && view.a !== ORIGINAL) view.a = [...best, ...names].find((name) => names.includes(name));
  if (!names.includes(view.b) && view.b !== ORIGINAL) view.b = null;
  view.b ??= [...known, ...names].find((name) => name !== view.a) ?? ORIGINAL;
}

function startViewer() {
  const body = byId("viewer-body");
  if (!shots) {
    body.append(el("p", {}, "No pictures are embedded in this page. To see them, make it with ",
      el("code", {}, "facebench report RUN --include-pictures 12"),
      " and, where the image set is not at its usual place, ", el("code", {}, "--data PATH"), "."));
    return;
  }
  if (!shots.pictures.length || !budgetsWithPictures().length) {
    body.append(el("p", {}, shots.pictures.length ? "No operating point of this run could be decoded again here."
      : "No picture fits into this page: what it says of the run takes all the room."), noteList());
    return;
  }
  if (shots.terms) body.append(el("p", { class: "warning" }, `Pictures of real people: ${shots.terms}`));
  view.budget = budgetsWithPictures().includes(state.budget) ? state.budget : budgetsWithPictures()[0];
  view.b = null;
  settle();
  build(body);
  body.append(noteList());
  show();
  new ResizeObserver(fit).observe(parts.compare);
  listeners.push((changes) => {
    if (changes.budget && setsAt(changes.budget).length) look({ budget: changes.budget });
    else if (changes.picked) lookAtPoint(changes.picked);
    else if ("mask" in changes || "metric" in changes) show();
  });
}

const noteList = () => el("ul", { class: "notes" }, ...shots.notes.map((note) => el("li", {}, note)));

function look(changes) {
  Object.assign(view, changes);
  settle();
  show();
}

/** Show an operating point on the left side; say so where its pictures are not in the page. */
function lookAtPoint(label) {
  const exact = shots.sets.find((set) => set.point === label);
  const point = pointNamed.get(label);
  const size = point.rows[doc.masks[0]].bytes;
  const near = exact ?? shots.sets.filter((set) => set.curve === point.curve)
    .sort((one, other) => Math.abs(Math.log(one.bytes / size)) - Math.abs(Math.log(other.bytes / size)))[0];
  parts.said.textContent = exact ? "" : near
    ? `The pictures of ${label} are not in this page; the nearest of the same curve is ${near.point}.`
    : `No pictures of ${point.curve} are in this page.`;
  if (near) look({ budget: near.budget, a: near.curve, b: view.b === near.curve ? null : view.b });
}

/** Show a picture by its name; false where it is not in the page. */
function lookAtPicture(name, changes = {}) {
  const picture = viewable() ? shots.pictures.findIndex((entry) => entry.name === name) : -1;
  if (picture < 0) return false;
  look({ ...changes, picture });
  byId("viewer").scrollIntoView({ block: "start" });
  parts.root.focus({ preventScroll: true });
  return true;
}

function build(body) {
  const button = (label, title, onclick, more = {}) => el("button", { type: "button", title, onclick, ...more }, label);
  const select = (id, label, change) => {
    const made = el("select", { id, onchange: (event) => change(event.target.value) });
    return [made, el("label", { for: id }, label, made)];
  };
  const layer = () => el("canvas", { role: "img" });
  parts = { a: layer(), b: layer(), original: layer(), overlay: el("canvas", { "aria-hidden": "true", class: "overlay" }),
    overlayOriginal: el("canvas", { "aria-hidden": "true", class: "overlay" }) };
  const [budget, budgetLabel] = select("view-bytes", "Bytes", (value) => look({ budget: Number(value) }));
  const [a, aLabel] = select("view-a", "Left", (value) => look({ a: value }));
  const [b, bLabel] = select("view-b", "Right", (value) => look({ b: value }));
  Object.assign(parts, {
    selects: { budget, a, b },
    error: button("Error map", "Key: e", () => look({ error: !view.error })),
    mask: button("Face mask", "Key: m", () => look({ mask: !view.mask }), { hidden: !shots.pictures[0].mask }),
    said: el("p", { class: "about", role: "status" }),
    captionA: el("div", { class: "caption" }),
    captionB: el("div", { class: "caption right" }),
    captionOriginal: el("figcaption", {}),
    scale: el("p", { class: "error-scale", hidden: true }, el("span", {}, "same"), el("i"), el("span", {},
      `off by ${ERROR_TOP} grey levels or more`)),
    strip: el("ul", { class: "strip", "aria-label": "Pictures in this page" }),
    zoomText: el("output", {}, "1×"),
  });
  parts.handle = el("div", { class: "handle", role: "slider", tabindex: "0", "aria-label": "Divider between left and right",
    "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal", onkeydown: moveByKey });
  parts.stage = el("div", { class: "stage", onpointerdown: startDrag }, parts.b, parts.a, parts.overlay, parts.handle);
  parts.window = el("div", { class: "window", onscroll: () => together(parts.window, parts.windowOriginal) }, parts.stage);
  parts.windowOriginal = el("div", { class: "window", onscroll: () => together(parts.windowOriginal, parts.window) },
    el("div", { class: "stage" }, parts.original, parts.overlayOriginal));
  parts.compare = el("div", { class: "compare" }, parts.window,
    el("div", { class: "captions" }, parts.captionA, parts.captionB), parts.scale);
  const tools = el("div", { class: "viewer-tools" }, budgetLabel, aLabel, bLabel,
    el("span", { class: "buttons" },
      button("Swap", "Key: s", swap), parts.error, parts.mask,
      button("−", "Key: −", () => zoomBy(-1), { "aria-label": "Zoom out" }), parts.zoomText,
      button("+", "Key: +", () => zoomBy(1), { "aria-label": "Zoom in" })));
  const keys = el("p", { class: "keys" }, ...[["← →", "picture"], ["↑ ↓", "left codec"], ["⇧ ↑ ↓", "right codec"],
    ["[ ]", "bytes"], ["+ −", "zoom"], ["e", "error map"], ["m", "face mask"], ["s", "swap"]].flatMap(([key, what]) =>
    [el("span", {}, el("kbd", {}, key), ` ${what}`)]), el("span", {}, "on the divider: ", el("kbd", {}, "← →")));
  parts.root = el("div", { class: "viewer", tabindex: "0", role: "group", "aria-label": "Viewer", onkeydown: viewerKey },
    tools, parts.said,
    el("div", { class: "panes" }, parts.compare,
      el("figure", { class: "original" }, parts.windowOriginal, parts.captionOriginal)),
    parts.strip, keys);
  body.append(el("p", { class: "about" }, "Each curve's operating point whose mean is nearest to the bytes chosen, or " +
    "where the run has it the one tuned to fit them. Below each side: the bytes of this very picture."), parts.root);
  parts.strip.append(...shots.pictures.map((entry, index) => el("li", {}, button(
    el("img", { src: entry.original, alt: "", width: "56", height: "56" }), entry.name, () => look({ picture: index }),
    { "aria-label": entry.name }))));
}

function swap() {
  look({ a: view.b, b: view.a });
}

function zoomBy(step) {
  look({ zoom: Math.max(0, Math.min(ZOOMS.length - 1, view.zoom + step)) });
}

function stepCodec(side, step) {
  const names = [ORIGINAL, ...setsAt(view.budget).map((set) => set.curve)];
  look({ [side]: names[(names.indexOf(view[side]) + step + names.length) % names.length] });
}

function stepPicture(step) {
  look({ picture: (view.picture + step + shots.pictures.length) % shots.pictures.length });
}

function stepBudget(step) {
  const sizes = budgetsWithPictures();
  look({ budget: sizes[Math.max(0, Math.min(sizes.length - 1, sizes.indexOf(view.budget) + step))] });
}

function viewerKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  const side = event.shiftKey ? "b" : "a";
  const actions = {
    ArrowLeft: () => stepPicture(-1), ArrowRight: () => stepPicture(1),
    ArrowUp: () => stepCodec(side, -1), ArrowDown: () => stepCodec(side, 1),
    "[": () => stepBudget(-1), "]": () => stepBudget(1),
    "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1),
    e: () => look({ error: !view.error }), m: () => look({ mask: !view.mask }), s: swap,
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function moveByKey(event) {
  const step = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  split(view.split + step);
}

function split(value) {
  view.split = Math.max(0, Math.min(100, value));
  parts.a.style.clipPath = `inset(0 ${100 - view.split}% 0 0)`;
  parts.handle.style.left = `${view.split}%`;
  parts.handle.setAttribute("aria-valuenow", String(Math.round(view.split)));
  parts.handle.setAttribute("aria-valuetext", `${Math.round(view.split)} % from the left`);
}

function startDrag(event) {
  if (event.button) return;
  const follow = (move) => {
    const box = parts.stage.getBoundingClientRect();
    split((100 * (move.clientX - box.left)) / box.width);
  };
  const stop = () => {
    parts.stage.removeEventListener("pointermove", follow);
    for (const name of ["pointerup", "pointercancel"]) parts.stage.removeEventListener(name, stop);
  };
  parts.stage.setPointerCapture(event.pointerId);
  parts.stage.addEventListener("pointermove", follow);
  for (const name of ["pointerup", "pointercancel"]) parts.stage.addEventListener(name, stop);
  follow(event);
  parts.handle.focus({ preventScroll: true });
  event.preventDefault();
}

const pixelsKept = new Map();

/** The pixels of an embedded picture, as a promise of ImageData. */
function pixels(uri) {
  if (!pixelsKept.has(uri)) {
    const image = new Image();
    image.src = uri;
    pixelsKept.set(uri, image.decode().then(() => {
      const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    }));
  }
  return pixelsKept.get(uri);
}

// Black, purple, orange, yellow-white: ordered by lightness, so that it reads without telling hues apart.
const HEAT = [[0, 0, 4], [80, 18, 123], [182, 54, 121], [251, 136, 97], [252, 253, 191]];

/** A picture of the largest difference over R, G, B at each pixel. */
function errorMap(picture, original) {
  const made = new ImageData(picture.width, picture.height);
  for (let at = 0; at < made.data.length; at += 4) {
    const off = Math.max(...[0, 1, 2].map((c) => Math.abs(picture.data[at + c] - original.data[at + c])));
    const place = Math.min(1, off / ERROR_TOP) * (HEAT.length - 1);
    const below = Math.min(HEAT.length - 2, Math.floor(place));
    for (let c = 0; c < 3; c += 1) {
      made.data[at + c] = HEAT[below][c] + (place - below) * (HEAT[below + 1][c] - HEAT[below][c]);
    }
    made.data[at + 3] = 255;
  }
  return made;
}

/** A veil over all that is not face. */
function veil(mask) {
  const made = new ImageData(mask.width, mask.height);
  for (let at = 0; at < made.data.length; at += 4) {
    if (mask.data[at] < 128) made.data.set([0, 90, 181, 150], at);
  }
  return made;
}

function paint(canvas, image) {
  canvas.width = image?.width ?? data.side;
  canvas.height = image?.height ?? data.side;
  if (image) canvas.getContext("2d").putImageData(image, 0, 0);
}

let painting = 0;

async function show() {
  const turn = ++painting;
  const entry = shots.pictures[view.picture];
  drawControls(entry);
  fit();
  split(view.split);
  const uris = ["a", "b"].map((side) => {
    const set = setOf(view[side]);
    return set ? shots.decoded[set.point].images[view.picture] : entry.original;
  });
  const [a, b, original, mask] = await Promise.all(
    [...uris, entry.original, entry.mask].map((uri) => (uri ? pixels(uri) : null)));
  if (turn !== painting) return;
  const shownOf = (picture) => (view.error && picture ? errorMap(picture, original) : picture);
  paint(parts.a, shownOf(a));
  paint(parts.b, shownOf(b));
  paint(parts.original, original);
  for (const overlay of [parts.overlay, parts.overlayOriginal]) {
    overlay.hidden = !(view.mask && mask);
    if (!overlay.hidden) paint(overlay, veil(mask));
  }
  parts.root.dataset.painted = String(turn);
}

function drawControls(entry) {
  const { selects } = parts;
  selects.budget.replaceChildren(...budgetsWithPictures().map((size) =>
    el("option", { value: size, selected: size === view.budget }, `about ${grouped(size, 0)}`)));
  for (const side of ["a", "b"]) {
    selects[side].replaceChildren(...[ORIGINAL, ...setsAt(view.budget).map((set) => set.curve)].map((name) =>
      el("option", { value: name, selected: name === view[side] }, name)));
  }
  for (const [side, place] of [["a", parts.captionA], ["b", parts.captionB]]) {
    keepingFocus(place, () => place.replaceChildren(...caption(view[side], entry)), parts.root);
  }
  parts.a.setAttribute("aria-label", `${entry.name}, ${view.a}`);
  parts.b.setAttribute("aria-label", `${entry.name}, ${view.b}`);
  parts.original.setAttribute("aria-label", `${entry.name}, original`);
  parts.captionOriginal.replaceChildren(el("b", {}, "original"), el("br"), entry.name,
    ` (${view.picture + 1} of ${shots.pictures.length})`);
  parts.error.setAttribute("aria-pressed", String(view.error));
  parts.mask.setAttribute("aria-pressed", String(view.mask));
  parts.scale.hidden = !view.error;
  parts.zoomText.textContent = `${ZOOMS[view.zoom]}×`;
  parts.strip.querySelectorAll("button").forEach((button, index) => {
    button.setAttribute("aria-pressed", String(index === view.picture));
  });
  const chosen = parts.strip.children[view.picture];
  parts.strip.scrollLeft = chosen.offsetLeft - parts.strip.offsetLeft - parts.strip.clientWidth / 2 + 30;
}

function caption(name, entry) {
  const set = setOf(name);
  if (!set) return [el("b", {}, "original"), el("br"), `${grouped(3 * data.side ** 2, 0)} bytes of pixels`];
  const of = shots.decoded[set.point];
  const { name: metric, unit } = metricNamed(state.metric);
  const size = of.bytes[view.picture];
  const link = el("button", { type: "button", class: "link", title: "Show on the chart", onclick: () => {
    update({ picked: set.point, focus: pointNamed.get(set.point).curve });
    byId("chart").scrollIntoView({ block: "start" });
  } }, swatch(set.curve), ...breakable(set.point));
  if (!of.images[view.picture]) return [link, el("br"), "no picture: it failed or did not fit"];
  return [link, el("br"), el("b", {}, size == null ? NONE : `${grouped(size, 0)} bytes`),
    `, ${metric} ${shown(of.values[state.mask][metric][view.picture], unit)}`];
}

/** Size the stages: whole screen pixels for each picture's pixel, as many as fit. */
function fit() {
  const most = Math.min(parts.compare.clientWidth, 576);
  const scale = Math.max(1, Math.floor(most / data.side));
  const side = scale * data.side;
  const beside = parts.root.clientWidth >= 2 * side + 64;
  const small = beside ? side : Math.max(1, Math.floor(Math.min(288, most) / data.side)) * data.side;
  for (const [window, size] of [[parts.window, side], [parts.windowOriginal, small]]) {
    const middle = [window.scrollLeft, window.scrollTop].map((at) => (at + window.clientWidth / 2) / window.scrollWidth);
    const stage = window.firstElementChild;
    window.style.width = window.style.height = `${size}px`;
    stage.style.width = stage.style.height = `${size * ZOOMS[view.zoom]}px`;
    [window.scrollLeft, window.scrollTop] = middle.map((at) => at * window.scrollWidth - window.clientWidth / 2);
  }
}

/** Scroll one zoomed picture as the other. */
function together(moved, other) {
  const scale = other.scrollWidth / moved.scrollWidth;
  for (const side of ["scrollLeft", "scrollTop"]) {
    if (Math.abs(other[side] - moved[side] * scale) > 1) other[side] = moved[side] * scale;
  }
}

startViewer();
