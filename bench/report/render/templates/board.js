"use strict";
(() => {
  // Without this script the page shows every table in full, and all details in the lists below.
  const source = document.getElementById("board-data");
  const form = document.querySelector("form.controls");
  if (!source || !form) return;
  const board = JSON.parse(source.textContent);
  const root = document.documentElement;
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const tables = [...document.querySelectorAll("table.values")].map((table, index) => ({
    table,
    block: board.blocks[index],
    section: table.closest("section"),
    rows: [...table.querySelectorAll("tr.row")],
    groups: [...table.tBodies],
    families: [...table.tHead.rows[0].cells].slice(1),
    heads: [...table.tHead.rows[1].cells],
  }));
  const field = (name) => form.querySelector(`#${name}`);
  const boxes = (name) => [...field(name).querySelectorAll("input")];
  const filters = ["find", "family", "status", "data", "k"];
  const sorting = new Map(); // data set -> { by, order }
  let opened = null; // { dataset, row, metric }

  {% include "view.js" %}

  {% include "sorting.js" %}

  {% include "cell.js" %}

  const refresh = () => {
    showSelection();
    sortTables();
    updateTabStops();
    writeAddress();
  };
  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  const reset = (event) => {
    event.preventDefault();
    readState(new URLSearchParams());
    refresh();
  };
  form.addEventListener("reset", reset);
  for (const button of document.querySelectorAll(".empty button")) button.addEventListener("click", reset);
  field("export").addEventListener("click", exportCsv);
  addEventListener("hashchange", () => {
    if (location.hash.includes("=") || !location.hash) {
      readState(new URLSearchParams(location.hash.slice(1)));
      refresh();
      reopenDetails();
    }
  });
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      // The address holds the state, so a jump must not replace it.
      event.preventDefault();
      const target = document.getElementById(link.hash.slice(1));
      target.tabIndex = -1;
      target.focus({ preventScroll: true });
      target.scrollIntoView();
    });
  }
  addSortButtons();
  addCellButtons();
  form.hidden = false;
  root.classList.add("scripted");
  readState(new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""));
  showSelection();
  sortTables();
  updateTabStops();
  reopenDetails();
})();
