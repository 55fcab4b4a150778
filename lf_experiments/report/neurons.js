/* The neuron browser: two lists, and what is known of the neuron that is chosen. */

function startNeurons(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const part = (name) => root.querySelector(`[data-part=${name}]`);
  const languages = part("language"), list = part("neuron"), portrait = part("portrait");
  let shown = []; // the neurons of the language that is chosen

  function made(name, text = "", kind = "") {
    const element = document.createElement(name);
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  function fill() {
    const language = data.shown[languages.value];
    shown = data.neurons.filter((neuron) => neuron.language === language);
    list.replaceChildren(...shown.map(({ place, score }, number) => {
      const option = made("option", `${place}: ${score}`);
      option.value = number;
      return option;
    }));
    list.value = 0;
    show();
  }

  function show() {
    const neuron = shown[list.value];
    if (!neuron) return;
    const halves = neuron.frequency && `, selected by ${neuron.frequency} of the halves of the sentences`;
    portrait.replaceChildren(
      made("h3", neuron.place.replace("layer", "Layer")),
      made("p", `Score ${neuron.score} for ${data.languages[neuron.language].name}${halves}.`, "soft"),
      made("h4", "Mean activity in each language"), bars(neuron),
      made("h4", "Sentences in which it is most active"), sentences(neuron),
      ...(neuron.words.length ? [made("h4", "Words that it makes more likely"), words(neuron)] : []),
    );
  }

  function bars(neuron) {
    const table = document.createElement("table");
    const most = Math.max(...neuron.mean.map(Math.abs)) || 1;
    neuron.mean.forEach((mean, language) => {
      const row = table.insertRow(), head = made("th", data.languages[language].name);
      head.scope = "row";
      const bar = made("div", "", mean < 0 ? "cold" : "");
      bar.style.setProperty("--share", (Math.abs(mean) / most).toFixed(3));
      const holder = made("td", "", "bar");
      holder.append(bar);
      row.append(head, holder, made("td", mean.toPrecision(3).replace("-", "−")));
      if (language === neuron.language) row.className = "own";
    });
    return table;
  }

  function sentences(neuron) {
    const found = document.createElement("ol");
    neuron.sentences.forEach((place, rank) => {
      const [language, text] = data.sentences[place];
      const item = document.createElement("li"), line = made("div", text);
      line.lang = data.languages[language].code;
      line.dir = "auto";
      item.append(line, made("div", `${data.languages[language].name}, ${neuron.activations[rank].toPrecision(3)}`, "soft"));
      found.append(item);
    });
    return found;
  }

  function words(neuron) {
    const found = document.createElement("p");
    neuron.words.forEach((word) => {
      const chip = made("span", word, "word");
      chip.dir = "auto";
      found.append(chip);
    });
    return found;
  }

  languages.addEventListener("change", fill);
  list.addEventListener("change", show);
  root.classList.add("ready");
  fill();
}

document.querySelectorAll(".neurons").forEach(startNeurons);
