// The viewer of the gallery, made of the figures that stand in the page.

const LAYERS = ["image", "truth", "prediction", "errors"];
const MAPS = { pam2: "PAM at P2", pam3: "PAM at P3", pam4: "PAM at P4", pam5: "PAM at P5", mam: "MAM" };
const STOP = 100;

class Viewer {
  constructor(data, figures) {
    this.data = data;
    this.images = data.images.map((image, number) => ({ ...image, files: filesOf(figures[number]), layers: {} }));
    this.shown = [];
    this.current = null;
    this.guided = true;
    this.pointed = "";
    this.stage = byId("stage");
    this.slider = byId("slider");
    this.fillChoices();
    this.listen();
    this.reorder();
  }

  fillChoices() {
    if (this.images.every((image) => image.change === null)) byId("order").options[1].remove();
    this.data.categories.forEach(([name], category) => {
      if (this.images.some((image) => failures(image, category))) byId("class").append(new Option(name, category));
    });
    if (!byId("class").options.length) byId("order").lastElementChild.remove();
    LAYERS.forEach((name, number) => {
      const button = make("button", "", name);
      button.type = "button";
      button.addEventListener("click", () => this.slideTo(STOP * number));
      byId("stops").append(button);
    });
  }

  listen() {
    byId("order").addEventListener("change", () => this.reorder());
    byId("class").addEventListener("change", () => this.reorder());
    byId("map").addEventListener("change", () => this.paint());
    byId("switch").addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.paint());
    this.slider.addEventListener("keydown", (event) => this.slideByKey(event));
    this.stage.addEventListener("pointerdown", (event) => {
      this.stage.setPointerCapture(event.pointerId);
      this.drag(event);
    });
    this.stage.addEventListener("pointermove", (event) => (event.buttons ? this.drag(event) : this.point(event)));
    this.stage.addEventListener("pointerleave", () => this.leave());
    rove(byId("strip"), ["ArrowLeft", "ArrowRight"], (button) => button.click());
    rove(byId("segments"), ["ArrowUp", "ArrowDown"]);
  }

  /** Sort the pictures as chosen, and show the first. */
  reorder() {
    const order = byId("order").value, category = Number(byId("class").value);
    byId("class-choice").hidden = order !== "class";
    const images = [...this.images];
    const last = (value) => (value === null ? Infinity : value);
    if (order === "changed") images.sort((one, other) => Math.abs(other.change ?? 0) - Math.abs(one.change ?? 0));
    else images.sort((one, other) => last(one.pq) - last(other.pq));
    if (order === "class") images.sort((one, other) => failures(other, category) - failures(one, category));
    this.shown = order === "class" ? images.filter((image) => failures(image, category)) : images;
    byId("strip").replaceChildren(...this.shown.map((image) => this.thumbnail(image, order)));
    this.show(this.shown[0]);
  }

  thumbnail(image, order) {
    const button = make("button", "");
    button.type = "button";
    button.tabIndex = -1;
    const picture = make("img", "");
    picture.alt = "";
    picture.src = image.files.image;
    const value = order === "changed" ? signed(image.change ?? 0) : image.pq === null ? "–" : image.pq.toFixed(1);
    button.append(picture, make("span", "", value));
    button.setAttribute("aria-label", `image ${image.image_id}, ${order === "changed" ? "change" : "PQ"} ${value}`);
    button.addEventListener("click", () => this.show(image));
    const item = make("li", "");
    item.append(button);
    return item;
  }

  async show(image) {
    this.current = image;
    const number = this.shown.indexOf(image);
    [...byId("strip").children].forEach((item, index) => {
      const button = item.firstChild;
      button.tabIndex = index === number ? 0 : -1;
      if (index === number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    byId("position").textContent = `${number + 1} of ${this.shown.length}`;
    this.describe(image);
    this.paint();
    for (const name of ["truth", "prediction", "unguided"]) {
      if (image.files[name] && !image.layers[name]) image.layers[name] = await readLayer(image.files[name]);
    }
    if (this.current === image) this.list();
  }

  describe(image) {
    const quality = image.pq === null ? "nothing to count" : `PQ ${image.pq.toFixed(1)}`;
    const change = image.change === null ? "" : `, ${signed(image.change)} against the champion`;
    byId("picture-title").textContent = `Image ${image.image_id}`;
    byId("picture-quality").textContent = `${quality}${change} · ${image.width} × ${image.height} pixels`;
    const maps = Object.keys(image.ranges);
    byId("attention").hidden = !maps.length && !image.files.unguided;
    const chosen = byId("map").value;
    byId("map").replaceChildren(new Option("none", ""), ...maps.map((name) => new Option(MAPS[name] ?? name, name)));
    byId("map").value = maps.includes(chosen) ? chosen : "";
    byId("switch").hidden = !image.files.unguided;
    byId("switch-note").textContent = this.guided || !image.files.unguided ? "" : wordsWithoutAttention(image);
  }

  /** The file of a layer, with or without attention. */
  file(image, name) {
    const without = { prediction: "unguided", errors: "unguided_errors" }[name];
    return (!this.guided && without && image.files[without]) || image.files[name];
  }

  /** The two layers that the slider is between, and where the line between them is, 0 … 1 from the left. */
  wipe() {
    const value = Number(this.slider.value);
    const first = Math.min(Math.floor(value / STOP), LAYERS.length - 2);
    return { left: LAYERS[first], right: LAYERS[first + 1], line: 1 - (value - STOP * first) / STOP };
  }

  paint() {
    const image = this.current, { left, right, line } = this.wipe(), map = byId("map").value;
    this.stage.style.aspectRatio = `${image.width} / ${image.height}`;
    this.stage.parentElement.style.setProperty("--ratio", image.width / image.height);
    for (const [id, name] of [["left-side", left], ["right-side", right]]) {
      const side = byId(id);
      const [base, over, heat] = side.children;
      side.className = `side ${name}${map ? " mapped" : ""}`;
      base.src = image.files.image;
      setSource(over, name === "image" || map ? "" : this.file(image, name));
      setSource(heat, map ? image.files[map] : "");
    }
    byId("right-side").style.clipPath = `inset(0 0 0 ${100 * line}%)`;
    byId("divider").style.left = `${100 * line}%`;
    byId("divider").hidden = line <= 0 || line >= 1;
    byId("left-tag").textContent = left;
    byId("right-tag").textContent = right;
    byId("left-tag").hidden = line < 0.15 || Boolean(map);
    byId("right-tag").hidden = line > 0.85 || Boolean(map);
    const words = line <= 0 ? right : line >= 1 ? left : `${left} on the left, ${right} on the right`;
    this.slider.setAttribute("aria-valuetext", words);
    const over = map ? `, attention ${MAPS[map] ?? map} over it` : "";
    this.stage.setAttribute("aria-label", `image ${image.image_id}: ${words}${over}`);
    [...byId("stops").children].forEach((button, number) => {
      button.setAttribute("aria-pressed", String(Number(this.slider.value) === STOP * number));
    });
    byId("range").hidden = !map;
    if (map) [byId("low").textContent, byId("high").textContent] = image.ranges[map].map((end) => end.toFixed(2));
    this.list();
  }

  toggle() {
    this.guided = !this.guided;
    byId("switch").setAttribute("aria-checked", String(this.guided));
    byId("switch").lastChild.textContent = this.guided ? "attention on" : "attention off";
    byId("map").value = "";
    if (Number(this.slider.value) < 2 * STOP) this.slider.value = 2 * STOP;
    this.describe(this.current);
    this.paint();
  }

  slideTo(value) {
    this.slider.value = value;
    this.paint();
  }

  slideByKey(event) {
    const value = Number(this.slider.value);
    const next = {
      ArrowLeft: value - 10, ArrowDown: value - 10, ArrowRight: value + 10, ArrowUp: value + 10,
      PageDown: STOP * (Math.ceil(value / STOP) - 1), PageUp: STOP * (Math.floor(value / STOP) + 1),
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.slideTo(next);
  }

  /** Move the line between the two layers to the pointer. */
  drag(event) {
    this.leave();
    const box = this.stage.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const first = LAYERS.indexOf(this.wipe().left);
    this.slideTo(STOP * first + Math.round(STOP * (1 - share)));
  }

  /** Which map a layer shows: errors and prediction are of the prediction, all else is of the truth. */
  mapOf(name) {
    if (name !== "prediction" && name !== "errors") return "truth";
    return this.guided || !this.current.files.unguided ? "prediction" : "unguided";
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
    const { left, right, line } = this.wipe();
    const name = across < line ? left : right;
    const numberAt = (map) => {
      const layer = this.current.layers[map];
      if (!layer || across < 0 || down < 0 || across >= 1 || down >= 1) return 0;
      return layer.numbers[Math.floor(down * layer.height) * layer.width + Math.floor(across * layer.width)];
    };
    const map = this.mapOf(name);
    const key = `${name} ${numberAt("truth")} ${numberAt(map)}`;
    const tip = byId("tip");
    if (key !== this.pointed) {
      this.pointed = key;
      const maps = name === "errors" ? ["truth", map] : [map];
      tip.replaceChildren(...maps.map((each) => this.sentence(each, numberAt(each), maps.length > 1)));
      this.highlight(map, numberAt(map));
    }
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max(100 * across, 18), 82)}%`;
    tip.style.top = `${100 * down}%`;
    tip.classList.toggle("below", down < 0.3);
  }

  leave() {
    this.pointed = "";
    byId("tip").hidden = true;
    clearHighlight(byId("highlight"));
  }

  highlight(map, number) {
    const layer = this.current.layers[map];
    if (layer && number) drawHighlight(byId("highlight"), layer, number);
    else clearHighlight(byId("highlight"));
  }

  /** A line on a segment: its class, then what became of it. */
  sentence(map, number, named) {
    const line = make("p", "");
    const side = named ? `${map === "truth" ? "truth" : "predicted"}: ` : "";
    const segment = number && this.current.segments[map][number - 1];
    if (!segment) {
      line.textContent = `${side}void`;
      return line;
    }
    line.append(side, make("b", "", this.data.categories[segment[1]][0]), ` · ${wordsOn(segment, this.data).join(" · ")}`);
    return line;
  }

  /** The segments of the map that the slider is nearest to, what went wrong first. */
  list() {
    const map = this.mapOf(Number(this.slider.value) > STOP ? "prediction" : "truth"), image = this.current;
    const layer = image.layers[map], key = `${image.image_id} ${map}`;
    if (!layer || this.listed === key) return;
    this.listed = key;
    const segments = image.segments[map].map((segment, index) => [segment, index + 1]);
    segments.sort(([one], [other]) => wrong(other) - wrong(one) || other[2] - one[2]);
    const title = { truth: "truth", prediction: "prediction", unguided: "prediction without attention" }[map];
    byId("segments-title").textContent = `${segments.length} segments of the ${title}`;
    byId("segments").replaceChildren(...segments.map(([segment, number]) => this.entry(map, layer, segment, number)));
    if (segments.length) byId("segments").firstChild.firstChild.tabIndex = 0;
  }

  entry(map, layer, segment, number) {
    const button = make("button", wrong(segment) ? "wrong" : "");
    button.type = "button";
    button.tabIndex = -1;
    const dot = make("i", "");
    dot.style.background = colorOf(layer, number);
    const name = this.data.categories[segment[1]][0];
    const fate = make("span", "fate", `${FATE_MARKS[segment[3]]} ${this.data.fates[segment[3]]}`);
    button.append(dot, make("span", "name", name), fate, make("span", "iou", segment[4].toFixed(2)));
    button.setAttribute("aria-label", `${name}: ${wordsOn(segment, this.data).join(", ")}`);
    button.title = wordsOn(segment, this.data).join(" · ");
    for (const kind of ["focus", "pointerenter"]) button.addEventListener(kind, () => this.highlight(map, number));
    for (const kind of ["blur", "pointerleave"]) button.addEventListener(kind, () => this.leave());
    const item = make("li", "");
    item.append(button);
    return item;
  }
}

const block = byId("gallery-data");
if (block && "DecompressionStream" in window) {
  new Viewer(JSON.parse(block.textContent), [...document.querySelectorAll("figure.shot")]);
  byId("shots").hidden = true;
  byId("viewer").hidden = false;
}
