/* The matrix of deactivation: a grid whose cells are read with the pointer or the arrow keys, in the unit that is chosen. */

function startMatrix(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const cells = [...root.querySelectorAll("tbody tr")].map((row) => [...row.cells].slice(1));
  const unit = root.querySelector("[data-part=unit]");
  const against = root.querySelector("[data-part=against]");
  const answer = root.querySelector("output");
  const UNITS = {
    percent: { of: (nats) => 100 * Math.expm1(nats), digits: (value) => (Math.abs(value) < 10 ? 1 : 0), sign: "%", name: "%" },
    nats: { of: (nats) => nats, digits: () => 3, sign: "", name: " nats per token" },
    bits: { of: (nats, row) => nats * data.bits[row], digits: () => 3, sign: "", name: " bits per byte" },
  };
  let chosen = [0, 0];

  const kind = () => (against && against.value === "control" ? "against_control" : "nats");
  const number = (value) => {
    const digits = UNITS[unit.value].digits(value);
    const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return /[1-9]/.test(text) ? text.replace("-", "−") : text.replace("-", "");
  };
  const read = (part, row, column) => {
    const nats = data[kind() + part][row][column];
    return nats === null ? null : UNITS[unit.value].of(nats, row);
  };
  const isUnclear = (row, column) => read("_lo", row, column) <= 0 && read("_hi", row, column) >= 0 && read("_lo", row, column) !== null;

  function write() {
    const values = data[kind()].flat().filter((value) => value !== null);
    const most = Math.max(...values.map(Math.abs));
    cells.forEach((line, row) => line.forEach((cell, column) => {
      const nats = data[kind()][row][column], value = read("", row, column);
      cell.textContent = value === null ? "–" : number(value) + UNITS[unit.value].sign;
      cell.style.setProperty("--share", value === null ? 0 : Math.sqrt(Math.abs(nats) / (most || 1)).toFixed(3));
      cell.classList.toggle("cold", nats < 0);
      cell.classList.toggle("unclear", isUnclear(row, column));
    }));
  }

  function say() {
    const [row, column] = chosen;
    const language = data.languages[row], off = data.off[column];
    const value = read("", row, column), low = read("_lo", row, column), high = read("_hi", row, column);
    const without = off.startsWith("× ") ? `without the key region of ${off.slice(2)}` : `without ${off.toLowerCase()}`;
    if (value === null) {
      answer.textContent = `${language} ${without}: not measured.`;
      return;
    }
    const than = kind() === "nats" ? "the full model" : "the model without random neurons";
    const interval = low === null ? "" : ` (${number(low)} to ${number(high)})`;
    const verdict = isUnclear(row, column) ? " Undecided: the interval includes no change." : "";
    answer.textContent =
      `${language} ${without}: ${value < 0 ? "" : "+"}${number(value)}${UNITS[unit.value].name}${interval}, beside ${than}.${verdict}`;
  }

  function choose(row, column, withFocus) {
    cells[chosen[0]][chosen[1]].tabIndex = -1;
    chosen = [Math.min(cells.length - 1, Math.max(0, row)), Math.min(cells[0].length - 1, Math.max(0, column))];
    const cell = cells[chosen[0]][chosen[1]];
    cell.tabIndex = 0;
    if (withFocus) cell.focus();
    say();
  }

  cells.forEach((line, row) => line.forEach((cell, column) => {
    cell.tabIndex = -1;
    cell.addEventListener("pointerenter", () => choose(row, column, false));
    cell.addEventListener("focus", () => choose(row, column, false));
  }));
  cells[0][0].tabIndex = 0;
  root.querySelector("tbody").addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    choose(chosen[0] + step[0], chosen[1] + step[1], true);
    event.preventDefault();
  });
  [unit, against].forEach((select) => select && select.addEventListener("change", () => { write(); say(); }));
  write();
}

document.querySelectorAll(".matrix").forEach(startMatrix);
