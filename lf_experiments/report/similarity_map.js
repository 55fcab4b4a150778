/* Similarity maps: a canvas that shows the pair under the pointer, or under the arrow keys, zooms around it, and goes from map to map. */

function startMap(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const images = [...root.querySelectorAll("img")];
  const canvas = root.querySelector("canvas");
  const slider = root.querySelector("[type=range]");
  const alike = root.querySelector("[type=checkbox]");
  const part = (name) => root.querySelector(`[data-part=${name}]`);
  const maps = data.sheets.flatMap(({ places, maps }, sheet) =>
    maps.map((map, number) => ({ ...map, places, image: images[sheet], top: number * places.length })));
  const dark = Math.min(...maps.map((map) => map.dark)), bright = Math.max(...maps.map((map) => map.bright));
  const sheet = document.createElement("canvas");
  let map, size; // the map that is shown, and how many sentences it has
  let shades; // of every pair, row by row
  let cell, view;

  const language = (place) => data.languages[data.language[map.places[place]]];
  const begins = (place) => !place || language(place) !== language(place - 1);
  const number = (value) => value.toFixed(2).replace("-", "−");

  function show(next) {
    const before = map && [cell.row, cell.column].map((place) => map.places[place]);
    const isSame = map && next.places === map.places;
    map = next;
    size = map.places.length;
    if (!before) cell = { row: 0, column: Math.min(1, size - 1) };
    else if (!isSame) [cell.row, cell.column] = before.map(placeOf);
    if (!isSame) view = { row: 0, column: 0, size };
    paint();
  }

  function placeOf(sample) { // of a sentence, or of the first one of its language where the map is without it
    const found = map.places.indexOf(sample);
    return found >= 0 ? found : map.places.findIndex((place) => data.language[place] === data.language[sample]);
  }

  function paint() {
    const scale = alike && alike.checked ? { dark, bright } : map;
    const colours = Array.from({ length: data.shades + 1 }, (_, shade) => {
      const value = map.low + (shade / data.shades) * (map.high - map.low);
      const share = (value - scale.dark) / (scale.bright - scale.dark || 1);
      return data.palette[Math.round(data.shades * Math.min(1, Math.max(0, share)))];
    });
    sheet.width = sheet.height = size;
    const ink = sheet.getContext("2d", { willReadFrequently: true });
    ink.drawImage(map.image, 0, map.top, size, size, 0, 0, size, size);
    const pixels = ink.getImageData(0, 0, size, size);
    shades = new Uint8Array(size * size);
    for (let place = 0; place < shades.length; place++) {
      const shade = (shades[place] = pixels.data[4 * place]);
      pixels.data.set(colours[shade], 4 * place);
    }
    ink.putImageData(pixels, 0, 0);
    canvas.width = canvas.height = Math.min(1280, Math.max(720, size));
    part("scale").textContent = `darkest ${number(scale.dark)}, brightest ${number(scale.bright)}`;
    if (slider) {
      part("name").textContent = map.name;
      slider.setAttribute("aria-valuetext", map.name);
    }
    root.classList.add("ready");
    draw();
  }

  function draw() {
    const ink = canvas.getContext("2d");
    const scale = canvas.width / view.size;
    ink.imageSmoothingEnabled = false;
    ink.drawImage(sheet, view.column, view.row, view.size, view.size, 0, 0, canvas.width, canvas.height);
    ink.fillStyle = "#ffffff";
    for (let place = 1; place < size; place++) {
      if (!begins(place)) continue;
      ink.fillRect((place - view.column) * scale - 0.5, 0, 1, canvas.height);
      ink.fillRect(0, (place - view.row) * scale - 0.5, canvas.width, 1);
    }
    ink.font = `600 ${Math.round(canvas.width / 50)}px system-ui, sans-serif`;
    ink.lineWidth = 3;
    ink.strokeStyle = "#000000";
    for (let place = 0; place < size; place++) {
      if (!begins(place)) continue;
      const top = Math.max(0, (place - view.row) * scale) + canvas.width / 45;
      ink.strokeText(language(place).name, 6, top);
      ink.fillText(language(place).name, 6, top);
    }
    const x = (cell.column - view.column) * scale, y = (cell.row - view.row) * scale;
    ink.strokeStyle = "#ff3b30";
    ink.lineWidth = 2;
    ink.strokeRect(x - 3, y - 3, scale + 6, scale + 6);
    ink.globalAlpha = 0.55;
    ink.beginPath();
    ink.moveTo(0, y + scale / 2);
    ink.lineTo(canvas.width, y + scale / 2);
    ink.moveTo(x + scale / 2, 0);
    ink.lineTo(x + scale / 2, canvas.height);
    ink.lineWidth = 1;
    ink.stroke();
    ink.globalAlpha = 1;
  }

  function say() {
    const { row, column } = cell;
    const [first, second] = [row, column].map(language);
    const shade = shades[row * size + column];
    const cosine = row === column ? 1 : map.low + (shade / data.shades) * (map.high - map.low);
    const [one, other] = [row, column].map((place) => map.places[place]);
    const kind =
      row === column ? "the same sentence"
      : first === second ? `both ${first.name}, different meanings`
      : data.meaning[one] === data.meaning[other] ? "translations of each other"
      : "different languages, different meanings";
    part("cosine").textContent = number(cosine);
    part("kind").textContent = kind;
    [["row", one, first], ["column", other, second]].forEach(([side, place, { code, name }]) => {
      part(`${side}-language`).textContent = name;
      part(`${side}-text`).textContent = data.text[place];
      part(`${side}-text`).lang = code;
    });
  }

  function choose(row, column) {
    const within = (place) => Math.min(size - 1, Math.max(0, place));
    cell = { row: within(row), column: within(column) };
    for (const side of ["row", "column"]) {
      const least = Math.max(0, cell[side] - view.size + 1);
      view[side] = Math.min(cell[side], Math.max(least, view[side]));
    }
    draw();
    say();
  }

  function zoom(factor) { // 0 shows the whole map
    const next = Math.min(size, Math.max(Math.min(8, size), factor ? Math.round(view.size / factor) : size));
    const start = (place) => Math.min(size - next, Math.max(0, Math.round(place - next / 2)));
    view = { row: start(cell.row), column: start(cell.column), size: next };
    draw();
  }

  function follow(event) {
    const box = canvas.getBoundingClientRect();
    const place = (offset, length, start) => start + Math.floor((offset / length) * view.size);
    choose(place(event.clientY - box.top, box.height, view.row), place(event.clientX - box.left, box.width, view.column));
  }

  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 10 : 1;
    const steps = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] };
    if (steps[event.key]) choose(cell.row + steps[event.key][0], cell.column + steps[event.key][1]);
    else if (event.key === "+" || event.key === "=") zoom(2);
    else if (event.key === "-") zoom(0.5);
    else return;
    event.preventDefault();
  });
  root.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => zoom(Number(button.value))));
  if (slider) slider.addEventListener("input", () => { show(maps[slider.value]); say(); });
  if (alike) alike.addEventListener("change", paint);
  Promise.all(images.map((image) => image.decode())).then(() => show(maps[slider ? slider.value : 0]));
}

document.querySelectorAll(".similarity-map").forEach(startMap);
