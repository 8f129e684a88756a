// The page's data lie in elements of JSON: `data` about all pictures, and parts with photographs and classes, which are
// read when one of their pictures comes into view.
const byId = id => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const size = data.classes.length, count = data.names.length;
const ious = Uint8Array.from(atob(data.ious), one => one.charCodeAt(0));
const HIT = [0, 114, 178], FALSE_ALARM = [213, 94, 0], MISS = [204, 121, 167], ABSENT = 255, IGNORED = 255;
const parts = new Map(), loaded = new Map();
let cell = null; // [true, predicted] that the confusion browser shows

const percent = share => Number.isFinite(share) ? (100 * share).toFixed(1) : "–";
const iouOf = (picture, label) => ious[picture * size + label];

function part(number) {
  if (!parts.has(number)) parts.set(number, JSON.parse(byId(`part-${number}`).textContent));
  return parts.get(number);
}

// A picture's photograph, truth and prediction, decoded once.
function picture(number) {
  if (!loaded.has(number)) {
    if (loaded.size > 400) loaded.clear();
    loaded.set(number, decode(part(Math.floor(number / data.part))[number % data.part]));
  }
  return loaded.get(number);
}

async function decode(one) {
  const image = new Image();
  image.src = "data:image/jpeg;base64," + one.photo;
  const packed = Uint8Array.from(atob(one.classes), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const [classes] = await Promise.all([new Response(stream).arrayBuffer(), image.decode()]);
  const pixels = one.w * one.h;
  return { width: one.w, height: one.h, image,
    truth: new Uint8Array(classes, 0, pixels), guess: new Uint8Array(classes, pixels, pixels) };
}

// What colour a pixel has in a view; null leaves the photograph.
function colourOf(view, label, truth, guess) {
  if (view === "truth" || view === "prediction") {
    const value = view === "truth" ? truth : guess;
    return value === IGNORED ? null : data.palette[value];
  }
  if (truth === IGNORED) return null;
  if (view === "cell") return truth === cell[0] && guess === cell[1] ? FALSE_ALARM : null;
  if (label < 0) return truth === guess ? null : FALSE_ALARM;
  if (truth === label) return guess === label ? HIT : MISS;
  return guess === label ? FALSE_ALARM : null;
}

function paint(canvas, one, view, label) {
  canvas.width = one.width;
  canvas.height = one.height;
  const context = canvas.getContext("2d");
  context.drawImage(one.image, 0, 0);
  if (view === "photo") return;
  for (const [how, fill] of [["saturation", "#000"], ["source-over", "rgb(255 255 255 / .5)"]]) { // pale grey
    context.globalCompositeOperation = how;
    context.fillStyle = fill;
    context.fillRect(0, 0, one.width, one.height);
  }
  const over = new ImageData(one.width, one.height);
  for (let index = 0; index < one.truth.length; index++) {
    const colour = colourOf(view, label, one.truth[index], one.guess[index]);
    if (!colour) continue;
    over.data.set(colour, 4 * index);
    over.data[4 * index + 3] = view === "errors" && label >= 0 ? 190 : 255;
  }
  const layer = document.createElement("canvas");
  layer.width = one.width;
  layer.height = one.height;
  layer.getContext("2d").putImageData(over, 0, 0);
  context.drawImage(layer, 0, 0);
}

const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); entry.target.draw(); }
}, { rootMargin: "300px" });

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// A picture in the grid; it is drawn when it comes into view.
function card(number, view, label) {
  const made = element("button");
  made.className = "card";
  made.type = "button";
  const place = element("div", undefined, made);
  const line = element("span", undefined, made);
  element("b", data.names[number], line).title = data.names[number];
  const score = label >= 0 && view !== "cell" ? iouOf(number, label) / 250 : data.miou[number];
  element("small", percent(score), line);
  made.draw = async () => {
    const one = await picture(number);
    const canvas = document.createElement("canvas");
    canvas.style.setProperty("--shape", `${one.width} / ${one.height}`);
    paint(canvas, one, view, label);
    place.replaceWith(canvas);
  };
  made.addEventListener("click", () => enlarge(number, view, label));
  watcher.observe(made);
  return made;
}

// Colours and what they stand for.
function explain(place, view, label) {
  const names = view === "cell" || label < 0 ? [[FALSE_ALARM, "wrong"]]
    : [[HIT, "true positive"], [FALSE_ALARM, "false positive"], [MISS, "false negative"]];
  for (const [colour, name] of names) {
    element("i", undefined, place).style.background = `rgb(${colour})`;
    place.append(name);
  }
}

async function enlarge(number, from, label) {
  const box = byId("large").lastElementChild, one = await picture(number);
  box.replaceChildren();
  element("h3", `${data.names[number]}: mean IoU ${percent(data.miou[number])} %, pixel accuracy ${percent(data.accuracy[number])} %`, box);
  const four = element("div", undefined, box);
  four.className = "four";
  const views = [["photo", "picture"], ["truth", "truth"], ["prediction", "prediction"],
    ["errors", label < 0 ? "errors" : `errors of ${data.classes[label]}`]];
  if (from === "cell") views.push(["cell", `${data.classes[cell[0]]} taken for ${data.classes[cell[1]]}`]);
  for (const [view, caption] of views) {
    const figure = element("figure", undefined, four);
    paint(element("canvas", undefined, figure), one, view, label);
    const text = element("figcaption", caption, figure);
    if (view === "errors" && label >= 0) {
      text.className = "hint";
      explain(text, view, label);
    }
  }
  element("h4", "IoU of each class, %", box);
  const list = element("ul", undefined, box);
  const occurring = data.classes.map((name, index) => [name, index]).filter(([, index]) => iouOf(number, index) !== ABSENT);
  occurring.sort((a, b) => iouOf(number, a[1]) - iouOf(number, b[1]));
  for (const [name, index] of occurring) {
    const item = element("li", undefined, list), left = element("span", undefined, item);
    swatch(left, data.palette[index]);
    left.append(name);
    element("span", percent(iouOf(number, index) / 250), item);
  }
  byId("large").showModal();
}

function swatch(parent, colour) {
  const made = element("i", undefined, parent);
  made.className = "swatch";
  made.style.background = `rgb(${colour})`;
}

// All pictures: searched, filtered by class, ordered; more of them as the end of the page comes into view.
let chosen = [], shown = 0;
function choose() {
  const words = byId("search").value.trim().toLowerCase(), label = Number(byId("class").value), order = byId("order").value;
  chosen = data.names.map((_, number) => number).filter(number =>
    data.names[number].toLowerCase().includes(words) && (label < 0 || iouOf(number, label) !== ABSENT));
  const score = number => label < 0 ? data.miou[number] : iouOf(number, label);
  if (order === "name") chosen.sort((a, b) => data.names[a].localeCompare(data.names[b], undefined, { numeric: true }));
  else chosen.sort((a, b) => (score(a) - score(b)) * (order === "best" ? -1 : 1));
  byId("count").value = `${chosen.length} of ${count} pictures`;
  const key = byId("key");
  key.replaceChildren();
  if (byId("view").value === "errors") explain(key, "errors", label);
  element("span", label < 0 ? "numbers: mean IoU of the picture, %" : `numbers: IoU of ${data.classes[label]} in the picture, %`, key);
  byId("cards").replaceChildren();
  shown = 0;
  more();
}

function more() {
  const view = byId("view").value, label = Number(byId("class").value);
  byId("cards").append(...chosen.slice(shown, shown + 48).map(number => card(number, view, label)));
  shown = Math.min(shown + 48, chosen.length);
}
new IntersectionObserver(entries => { if (entries[0].isIntersecting && shown < chosen.length) more(); },
  { rootMargin: "800px" }).observe(byId("end"));

// The confusion matrix: shares of each true class's pixels; hits blue, confusions orange, as dark as the square root.
const totals = data.table.map(row => row.reduce((sum, one) => sum + one, 0));
const side = Math.max(3, Math.min(40, Math.floor(560 / size)));
const names = side >= 10 ? 130 : 0;
function drawMatrix() {
  const canvas = byId("matrix"), fine = 2, ink = getComputedStyle(document.body).color;
  canvas.width = (names + side * size + 1) * fine;
  canvas.height = canvas.width;
  canvas.style.maxWidth = `${canvas.width / fine}px`;
  const context = canvas.getContext("2d");
  context.scale(fine, fine);
  context.font = `${Math.min(12, side - 2)}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (let row = 0; row < size; row++) for (let column = 0; column < size; column++) {
    const share = totals[row] ? Math.sqrt(data.table[row][column] / totals[row]) : 0;
    const colour = row === column ? [0, 84, 147] : FALSE_ALARM;
    context.fillStyle = `rgb(${colour.map(one => Math.round(255 + (one - 255) * share))})`;
    context.fillRect(names + column * side, names + row * side, side - (side > 6), side - (side > 6));
  }
  context.fillStyle = ink;
  if (names) for (let index = 0; index < size; index++) {
    context.textAlign = "right";
    context.fillText(data.classes[index].slice(0, 20), names - 5, names + (index + .5) * side, names - 8);
    context.save();
    context.translate(names + (index + .5) * side, names - 5);
    context.rotate(-Math.PI / 2);
    context.textAlign = "left";
    context.fillText(data.classes[index].slice(0, 20), 0, 0, names - 8);
    context.restore();
  }
  if (cell) {
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.strokeRect(names + cell[1] * side, names + cell[0] * side, side, side);
  }
}

function showCell(row, column) {
  cell = row === column ? null : [row, column];
  byId("true").value = row;
  byId("guess").value = column;
  drawMatrix();
  const pixels = data.table[row][column], share = totals[row] ? pixels / totals[row] : NaN;
  const words = row === column ? `${data.classes[row]} is found` : `${data.classes[row]} is taken for ${data.classes[column]}`;
  const places = data.examples[row * size + column] || [];
  byId("cell").textContent = `${words}: ${pixels.toLocaleString("en")} pixels, ${percent(share)} % of ${data.classes[row]}. ` +
    (row === column ? "Choose a cell beside the diagonal to see pictures." : places.length ? "Most of it is in:" : "No picture holds any.");
  byId("examples").replaceChildren(...places.map(number => card(number, "cell", -1)));
}

byId("matrix").addEventListener("click", event => {
  const box = byId("matrix").getBoundingClientRect(), scale = (names + side * size + 1) / box.width;
  const column = Math.floor(((event.clientX - box.left) * scale - names) / side);
  const row = Math.floor(((event.clientY - box.top) * scale - names) / side);
  if (row >= 0 && row < size && column >= 0 && column < size) showCell(row, column);
});
byId("matrix").addEventListener("keydown", event => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = [Number(byId("true").value), Number(byId("guess").value)];
  showCell(...at.map((place, axis) => Math.max(0, Math.min(size - 1, place + step[axis]))));
});

for (const id of ["true", "guess"]) {
  data.classes.forEach((name, index) => element("option", name, byId(id)).value = index);
  byId(id).addEventListener("change", () => showCell(Number(byId("true").value), Number(byId("guess").value)));
}
element("option", "any class", byId("class")).value = -1;
data.classes.forEach((name, index) => element("option", name, byId("class")).value = index);
for (const id of ["class", "order", "view"]) byId(id).addEventListener("change", choose);
byId("search").addEventListener("input", choose);
const rows = document.querySelectorAll("table.classes tbody tr");
byId("class-search").addEventListener("input", event => {
  const words = event.target.value.trim().toLowerCase();
  for (const row of rows) row.classList.toggle("hidden", !row.cells[0].textContent.toLowerCase().includes(words));
});
// A class's name leads to its pictures.
for (const row of rows) row.cells[0].addEventListener("click", () => {
  byId("class").value = row.cells[0].dataset.value;
  choose();
  byId("cards").scrollIntoView({ behavior: "smooth", block: "center" });
});

let worst = [0, size > 1 ? 1 : 0, -1]; // the greatest confusion is shown first
data.table.forEach((row, index) => row.forEach((pixels, column) => {
  if (index !== column && pixels > worst[2]) worst = [index, column, pixels];
}));
showCell(worst[0], worst[1]);
choose();
