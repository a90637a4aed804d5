// Draws the figures of the page.  A figure is data and layout; or a choice between such views, made
// by the controls above it, outermost first.
"use strict";

const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "resetScale2d"]], // others reach for the network
};

// A control: its label, and what it does when the choices below it are other ones.  A slider begins
// at its end, where a run has learned.
function makeControl([kind, name], onInput) {
  const label = document.createElement("label");
  label.className = kind;
  label.append(name);
  const slider = kind === "slider";
  const input = document.createElement(slider ? "input" : "select");
  const shown = document.createElement("output");
  if (slider) Object.assign(input, { type: "range", min: 0 });
  let wanted = slider ? Infinity : 0;
  input.addEventListener(slider ? "input" : "change", () => {
    wanted = Number(input.value);
    onInput();
  });
  label.append(input);
  if (slider) label.append(shown);

  // Offer these choices, keep to the wanted one as far as there are as many, and return it.
  function choose(choices) {
    const place = Math.min(wanted, choices.length - 1);
    if (slider) {
      input.max = choices.length - 1;
      label.hidden = choices.length < 2;
      shown.textContent = choices[place].label;
    } else {
      input.replaceChildren(...choices.map((choice, k) => new Option(choice.label, k)));
    }
    input.value = place;
    return choices[place];
  }
  return { label, choose };
}

function draw(place, { views, controls }) {
  function show() {
    const view = made.reduce((at, control) => control.choose(at.choices), views);
    Plotly.react(place, view.data, view.layout, CONFIG);
  }
  const made = controls.map((control) => makeControl(control, show));
  place.previousElementSibling.append(...made.map((control) => control.label));
  show();
}

const plots = JSON.parse(document.getElementById("figures").textContent);
for (const [id, plot] of Object.entries(plots)) draw(document.getElementById(id), plot);
