// The address says what is shown, as far as it is not what a first visit shows.
  const readState = (from) => {
    for (const name of choices) if (field(name)) field(name).value = from.get(name) ?? "";
    for (const name of choices) if (field(name) && field(name).selectedIndex === -1) field(name).value = "";
    const parts = from.has("show") ? from.get("show").split(",") : board.shown;
    for (const box of boxes("parts")) box.checked = parts.includes(box.value);
    const hidden = from.getAll("hide");
    for (const box of boxes("columns")) box.checked = !hidden.includes(box.value);
    sorted.clear();
    const [by, orders] = [from.getAll("by"), from.getAll("order")];
    from.getAll("sort").forEach((dataset, place) => {
      const known = by[place] === NAME || board.metrics.includes(by[place]);
      if (known && ["best", "worst"].includes(orders[place])) sorted.set(dataset, { by: by[place], order: orders[place] });
    });
    opened = from.has("open") ? { dataset: from.get("open"), row: from.get("row"), metric: from.get("metric") } : null;
  };
  const writeAddress = () => {
    const to = new URLSearchParams();
    for (const name of choices) if (field(name) && field(name).value) to.set(name, field(name).value);
    const parts = partsShown();
    if (parts.join() !== board.shown.join()) to.set("show", parts.join());
    for (const metric of hiddenMetrics()) to.append("hide", metric);
    for (const [dataset, { by, order }] of sorted) {
      to.append("sort", dataset);
      to.append("by", by);
      to.append("order", order);
    }
    if (opened) {
      to.set("open", opened.dataset);
      to.set("row", opened.row);
      to.set("metric", opened.metric);
    }
    const state = to.toString();
    history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
  };
