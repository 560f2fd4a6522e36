"use strict";
// Everything that the scripts of the page share. Texts from records reach the document through textContent alone.
const page = {
  data: JSON.parse(document.getElementById("data").textContent),
  boards: new Map(),
  filter: { part: "", data: "", backbone: "", family: "", text: "" },
  printing: false,
};

page.dark = () => !page.printing && window.matchMedia("(prefers-color-scheme: dark)").matches;

page.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

page.element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};
