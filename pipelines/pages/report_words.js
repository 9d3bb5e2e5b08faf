// Small things of the viewer: elements, words on a segment, lists that arrow keys walk through. A segment is
// [id, category, area, fate, IoU, category of the other side or -1, score or null].

const FATE_MARKS = ["✓", "✕", "+", "–", "–"];

const byId = (id) => document.getElementById(id);
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;

/** An element with a class and a text; texts are never read as HTML. */
function make(tag, kind, text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

/** What became of a segment, in words. */
function wordsOn([id, category, area, fate, iou, other, score], { categories, fates }) {
  const words = [fates[fate], `IoU ${iou.toFixed(2)}`];
  if (score !== null) words.push(`score ${score.toFixed(2)}`);
  if (fate !== 0 && other >= 0 && other !== category) words.push(`there is ${categories[other][0]}`);
  return [...words, `id ${id}`, `${area.toLocaleString("en")} pixels`];
}

/** Missed or false. */
function wrong(segment) {
  return segment[3] === 1 || segment[3] === 2;
}

/** How many segments of a class are missed or false in an image. */
function failures(image, category) {
  const all = [...image.segments.truth, ...image.segments.prediction];
  return all.filter((segment) => segment[1] === category && wrong(segment)).length;
}

/** The files of a figure by the name of their layer. */
function filesOf(figure) {
  const files = {};
  for (const panel of figure.querySelectorAll(".panel")) {
    files[panel.dataset.layer] = panel.querySelector("image").href.baseVal;
  }
  return files;
}

function setSource(image, source) {
  image.hidden = !source;
  if (source) image.src = source;
}

/** Of the buttons in a list only one is reached by Tab; two keys, Home and End lead to the others. */
function rove(list, [back, forth], chosen = () => {}) {
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const next = { [back]: at - 1, [forth]: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const button = buttons[Math.min(Math.max(next, 0), buttons.length - 1)];
    buttons.forEach((other) => (other.tabIndex = other === button ? 0 : -1));
    button.focus();
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
    chosen(button);
  });
}

/** What the attention does to an image. */
function wordsWithoutAttention({ pq, unguided_pq: without, moved }) {
  const quality = without === null || pq === null ? "" : `PQ ${without.toFixed(1)} instead of ${pq.toFixed(1)}; `;
  return `Without attention: ${quality}${(100 * moved).toFixed(1)}% of the pixels get another class.`;
}
