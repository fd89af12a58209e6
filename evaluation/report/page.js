"use strict";
document.documentElement.classList.add("js");
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const made = (name, look, text) => {
  const element = document.createElement(name);
  if (look) element.className = look;
  if (text !== undefined) element.textContent = text;
  return element;
};

// Light, dark, or as the system says. A page that is opened from a disk may have no storage.
const kept = {
  get() { try { return localStorage.getItem("viewmill-theme") } catch { return null } },
  set(value) { try { localStorage.setItem("viewmill-theme", value) } catch { /* it is not kept */ } },
};
const themes = ["auto", "light", "dark"];
const themeButton = document.querySelector(".theme");
function show(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = theme === "auto" ? "Auto" : theme === "light" ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Light or dark: ${theme}`);
}
let theme = themes.includes(kept.get()) ? kept.get() : "auto";
show(theme);
themeButton.addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  kept.set(theme);
  show(theme);
});

// Tables: a header sorts by its column, numbers from the largest, words from A; once more turns it round. Empty cells stay last.
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const keys = new Map([...body.rows].map(row => {
    const cell = row.cells[column];
    return [row, cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim()];
  }));
  const sorted = [...body.rows].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return direction === "ascending" ? order : -order;
  });
  body.append(...sorted);
}
for (const table of all("table.sortable")) {
  const heads = all("thead th", table);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach(each => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", direction);
    sort(table, column, direction);
  }));
}

// Configuration: only what differs, and keys that are looked for; looking looks through all of them.
for (const section of all("section")) {
  const filtered = section.querySelector(".filtered");
  if (!filtered) continue;
  const only = section.querySelector("[data-only]"), find = section.querySelector(".find");
  const apply = () => {
    const text = find.value.trim().toLowerCase();
    filtered.classList.toggle("only", Boolean(only && only.checked && !text));
    for (const row of all("tbody tr", filtered)) row.classList.toggle("unfound", !row.cells[0].textContent.toLowerCase().includes(text));
  };
  if (only) only.addEventListener("change", apply);
  find.addEventListener("input", apply);
  apply();
}

// Several runs: each can be hidden.
for (const button of all("[data-shows]")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    for (const each of all(`[data-run="${button.dataset.shows}"]`)) each.classList.toggle("off", !on);
  });
}

// Charts: what lies below the pointer, or where the arrow keys are.
function figure(value, shares) {
  if (shares) return `${(100 * value).toFixed(1)} %`;
  const size = Math.abs(value);
  if (size >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return size !== 0 && size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
for (const chart of all(".chart")) {
  const plot = chart.querySelector(".plot");
  let data = null, place = -1;
  const cross = made("div", "cross"), tip = made("div", "tip");
  tip.setAttribute("role", "status");
  let marks = [];
  // The words stay on the page, hidden: what is told aloud has to be there before it changes.
  tip.hidden = true;
  plot.append(tip);
  const load = () => data ??= JSON.parse(chart.querySelector("script").textContent);
  const hide = () => {
    [cross, ...marks].forEach(each => each.remove());
    marks = [];
    tip.hidden = true;
  };
  const nearest = (series, epoch) => {
    let low = 0, high = series.epoch.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (series.epoch[middle] < epoch) low = middle + 1; else high = middle;
    }
    return low > 0 && epoch - series.epoch[low - 1] < series.epoch[low] - epoch ? low - 1 : low;
  };
  const look = epoch => {
    hide();
    const shown = load().series.filter(series => !document.querySelector(`[data-shows="${series.run}"][aria-pressed="false"]`));
    if (!shown.length) return;
    const first = nearest(shown[0], epoch), at = shown[0].epoch[first], left = 100 * at / data.end;
    const oneRun = shown.every(series => series.run === shown[0].run);
    cross.style.left = `${left}%`;
    tip.replaceChildren(made("div", "", `epoch ${at.toFixed(2)}${oneRun ? `, step ${shown[0].step[first].toLocaleString("en")}` : ""}`));
    for (const series of shown) {
      const here = nearest(series, at);
      const line = made("div"), mark = made("div", `mark-at c${series.run}`);
      if (shown.length > 1) line.append(made("i", `key c${series.run}`));
      line.append(made("span", "plain", series.label), made("b", "", figure(series.value[here], data.shares)));
      tip.append(line);
      mark.style.left = `${100 * series.epoch[here] / data.end}%`;
      mark.style.bottom = `${100 * series.up[here]}%`;
      marks.push(mark);
    }
    tip.style.left = left < 50 ? `${left}%` : "auto";
    tip.style.right = left < 50 ? "auto" : `${100 - left}%`;
    plot.append(cross, ...marks);
    tip.hidden = false;
    return first;
  };
  const under = event => {
    const box = plot.getBoundingClientRect();
    place = look(load().end * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1)) ?? -1;
  };
  plot.addEventListener("pointermove", under);
  plot.addEventListener("pointerdown", under);
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", event => {
    const epochs = load().series[0].epoch, last = epochs.length - 1;
    const to = { ArrowLeft: Math.max(place < 0 ? last : place - 1, 0), ArrowRight: Math.min(place + 1, last), Home: 0, End: last }[event.key];
    if (event.key === "Escape") hide();
    if (to === undefined) return;
    event.preventDefault();
    place = to;
    look(epochs[to]);
  });
}

// What a method painted, step by step.
for (const gallery of all(".gallery")) {
  const range = gallery.querySelector("input[type=range]"), sheets = all(".sheet", gallery);
  if (!range) continue;
  range.addEventListener("input", () => {
    sheets.forEach((sheet, number) => sheet.classList.toggle("now", number === Number(range.value)));
    const step = Number(sheets[range.value].dataset.step).toLocaleString("en");
    gallery.querySelector("output").textContent = step;
    range.setAttribute("aria-valuetext", `step ${step}`);
  });
}

// Pictures in full size.
const dialog = document.querySelector("dialog");
for (const button of all(".enlarge")) {
  button.addEventListener("click", () => {
    const [from, to] = [button.querySelector("img"), dialog.querySelector("img")];
    to.src = from.src;
    to.alt = from.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close() });

// Commands to the clipboard; where there is none, selected.
for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy" }, 1500);
  });
}

// Which section one is in.
const links = new Map(all(".bar nav a").map(link => [link.hash.slice(1), link]));
const watch = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of all("section")) watch.observe(section);
