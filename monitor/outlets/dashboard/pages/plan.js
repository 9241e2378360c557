// Spares the way to the server when a region is switched off or on; without it, links do the same.
"use strict";
(() => {
  const form = document.getElementById("plan");
  const approve = document.getElementById("approve");
  if (!form || !approve) return;
  const boxes = [...form.querySelectorAll('input[name="keep"]')];
  const show = () => {
    for (const box of boxes) {
      box.closest("tr").classList.toggle("off", !box.checked);
      for (const shape of form.querySelectorAll(`[data-region="${box.value}"]`)) {
        shape.classList.toggle("off", !box.checked);
        const [is, to] = box.checked ? ["on", "off"] : ["off", "on"];
        shape.setAttribute("aria-label", `region ${box.value} is ${is}: switch it ${to}`);
      }
    }
    const on = boxes.filter((box) => box.checked).length;
    approve.textContent = on === boxes.length ? "Approve the plan" : `Approve ${on} of ${boxes.length} regions`;
    approve.disabled = on === 0;
  };
  for (const shape of form.querySelectorAll("a[data-region]")) {
    shape.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const box = boxes.find((one) => one.value === shape.dataset.region);
      box.checked = !box.checked;
      show();
    });
  }
  form.addEventListener("change", show);
  show();
})();
