"use strict";
(function () {
  var root = document.documentElement;
  var button = document.getElementById("theme");
  var media = window.matchMedia("(prefers-color-scheme: dark)");
  function remembered() { try { return localStorage.getItem("rtx-theme"); } catch (e) { return null; } }
  function isDark() { var t = root.getAttribute("data-theme"); return t ? t === "dark" : media.matches; }
  function show() {
    var dark = isDark();
    button.setAttribute("aria-pressed", String(dark));
    button.textContent = dark ? "Light theme" : "Dark theme";
  }
  var before = remembered();
  if (before === "dark" || before === "light") { root.setAttribute("data-theme", before); }
  button.addEventListener("click", function () {
    var next = isDark() ? "light" : "dark";
    root.setAttribute("data-theme", next);
    try { localStorage.setItem("rtx-theme", next); } catch (e) { /* a page opened from disk may have no storage */ }
    show();
  });
  media.addEventListener("change", show);
  show();

  document.querySelectorAll("table.sortable").forEach(function (table) {
    var heads = Array.prototype.slice.call(table.querySelectorAll("thead tr:last-child th"));
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        var first = column === 0 ? "ascending" : "descending";
        var second = first === "ascending" ? "descending" : "ascending";
        var order = head.getAttribute("aria-sort") === first ? second : first;
        heads.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
        head.setAttribute("aria-sort", order);
        var body = table.tBodies[0];
        var rows = Array.prototype.slice.call(body.rows);
        var sign = order === "ascending" ? 1 : -1;
        rows.map(function (row, index) {
          var cell = row.cells[column];
          var value = column === 0 ? cell.textContent : cell.getAttribute("data-v");
          return { row: row, index: index, value: column === 0 ? value : (value === "" ? NaN : Number(value)) };
        }).sort(function (a, b) {
          if (column === 0) { return sign * a.value.localeCompare(b.value) || a.index - b.index; }
          if (isNaN(a.value) || isNaN(b.value)) { return Number(isNaN(a.value)) - Number(isNaN(b.value)) || a.index - b.index; }
          return sign * (a.value - b.value) || a.index - b.index;
        }).forEach(function (item) { body.appendChild(item.row); });
      });
    });
  });

  document.querySelectorAll("button.copy").forEach(function (copy) {
    var label = copy.textContent;
    copy.addEventListener("click", function () {
      var source = document.getElementById(copy.getAttribute("data-copy"));
      function done(ok) {
        copy.textContent = ok ? "Copied" : "Selected: press Ctrl+C";
        setTimeout(function () { copy.textContent = label; }, 2000);
      }
      function select() {
        var range = document.createRange();
        range.selectNodeContents(source);
        var selection = window.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
        try { done(document.execCommand("copy")); } catch (e) { done(false); }
      }
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(source.textContent).then(function () { done(true); }, select);
      } else { select(); }
    });
  });

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("#cards details").forEach(function (d) { d.open = false; });
  });
})();
