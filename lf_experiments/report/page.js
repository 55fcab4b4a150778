"use strict";
/* A click on the head of a column sorts its table, a second one the other way round, a third one as it was. */

const POWERS = { k: 1e3, M: 1e6, B: 1e9, T: 1e12 };

function value(cell) {
  const text = cell.textContent.trim().replaceAll(",", "").replace("−", "-").replace("∞", "Infinity");
  if (/^×[\d.]/.test(text)) return 100 * value({ textContent: text.slice(1) }); // a factor among percentages
  const found = /^[-+]?(?:Infinity|[\d.]+(?:e[-+]?\d+)?)(?=([kMBT])?\b|[%\s]|$)/.exec(text);
  return found ? Number(found[0]) * (POWERS[found[1]] || 1) : text;
}

function order(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one === "number") return -1;
  if (typeof other === "number") return 1;
  return one.localeCompare(other);
}

function sorted(groups, column, direction) {
  const cell = (group) => group.rows[0].cells[column];
  const isMissing = (group) => cell(group).textContent.trim() === "–";
  return [...groups].sort((one, other) => {
    if (isMissing(one) || isMissing(other)) return isMissing(one) - isMissing(other);
    return direction * order(value(cell(one)), value(cell(other)));
  });
}

function makeSortable(table) {
  const groups = [...table.tBodies];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return; // what has no name is nothing to sort by
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[head.ariaSort] || "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") head.ariaSort = next;
      const rows = next === "none" ? groups : sorted(groups, column, next === "ascending" ? 1 : -1);
      rows.forEach((group) => table.insertBefore(group, table.tFoot));
    });
  });
}

/* What can be scrolled is a region of its own, which a screen reader calls by the name of its section. */
function nameRegion(box) {
  box.setAttribute("role", "region");
  box.setAttribute("aria-labelledby", box.closest("section").querySelector("h2").id);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".scroll, .frame").forEach(nameRegion);
