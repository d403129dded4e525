// Sequences of numbers: read from text, drawn with a pointer, shown as lines.

/** Rows of `width` numbers from text, a step a line, and what there is to say of it; of one number a step, lines
 *  may hold several steps. */
function parsed(text, width) {
  const rows = [], lines = text.split(/\r\n|\n|\r/)
  let told = "", first = true
  for (const [number, line] of lines.entries()) {
    const cells = line.split(/[\s;,]+/).filter(Boolean)
    if (!cells.length) continue
    const bad = cells.find(cell => !Number.isFinite(Number(cell)))
    if (first && cells.every(cell => !Number.isFinite(Number(cell)))) {
      told = `The first line, ${cells.slice(0, 4).join(" ")}${cells.length > 4 ? " …" : ""}, was taken for names. `
    } else if (bad !== undefined) return {rows: [], fault: `Line ${number + 1}: “${bad}” is no number: mend it.`}
    else if (width > 1 && cells.length !== width) {
      return {rows: [], fault: `Line ${number + 1} has ${cells.length} numbers: give the ${width} of a step (${data.channels.join(", ")}).`}
    } else if (width > 1) rows.push(cells.map(Number))
    else rows.push(...cells.map(cell => [Number(cell)]))
    first = false
  }
  return {rows, told: told + (rows.length ? `Read: ${rows.length} ${rows.length === 1 ? "step" : "steps"}.` : "")}
}

const LINES = {light: ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#b35900", "#8c564b"], dark: ["#6db3e8", "#ff8178", "#6fce6f", "#c3a0e8", "#ffb366", "#cfa59c"]}
const lineColours = () => LINES[getComputedStyle(document.documentElement).colorScheme === "dark" ? "dark" : "light"]

/** A number in few digits. */
const brief = v => Math.abs(v) < 1e-12 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(4))

/** The same with as many digits for each, for columns. */
const steady = v => Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : v === 0 ? "0" : v.toPrecision(Math.max(4, Math.ceil(Math.log10(Math.abs(v)))))

/** Four round numbers or so between two. */
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(k => k * power).find(by => by >= rough), found = []
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step)
  return found
}

/** Lines on a canvas. `lines`: {values (null: nothing), colour, at (of the first), dashed}; `band`: {low, high, at}. */
function plot(canvas, lines, {band, from, to, low, high} = {}) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight, g = canvas.getContext("2d")
  canvas.width = width * ratio
  canvas.height = height * ratio
  g.scale(ratio, ratio)
  const all = [...lines.flatMap(line => line.values), ...(band ? [...band.low, ...band.high] : [])].filter(v => v !== null)
  low = Math.min(low ?? Infinity, ...all)
  high = Math.max(high ?? -Infinity, ...all)
  if (!(low < high)) [low, high] = Number.isFinite(low) ? [low - 1, high + 1] : [-1, 1]
  const [left, right, top, bottom] = [52, 8, 10, 20], soft = `rgb(${colour("soft")})`
  const x = t => left + (t - from) / Math.max(1, to - from) * (width - left - right)
  const y = v => height - bottom - (v - low) / (high - low) * (height - top - bottom)
  g.font = "12px system-ui, sans-serif"
  g.fillStyle = soft
  g.textAlign = "right"
  g.textBaseline = "middle"
  for (const v of ticks(low, high)) {
    g.fillText(brief(v), left - 6, y(v))
    g.strokeStyle = `rgb(${colour("line")})`
    g.beginPath()
    g.moveTo(left, y(v))
    g.lineTo(width - right, y(v))
    g.stroke()
  }
  if (band) {
    g.fillStyle = `rgba(${colour("accent")}, .22)`
    g.beginPath()
    band.high.forEach((v, i) => g.lineTo(x(band.at + i), y(v)))
    Array.from(band.low).reverse().forEach((v, i) => g.lineTo(x(band.at + band.low.length - 1 - i), y(v)))
    g.fill()
  }
  for (const line of lines) {
    g.strokeStyle = line.colour
    g.lineWidth = 2
    g.setLineDash(line.dashed ? [6, 4] : [])
    g.beginPath()
    let pen = false
    line.values.forEach((v, i) => {
      if (v === null) pen = false
      else if (pen) g.lineTo(x(line.at + i), y(v))
      else { g.moveTo(x(line.at + i), y(v)); pen = true }
    })
    g.stroke()
  }
  return {x, y, low, high, value: py => low + (height - bottom - py) / (height - top - bottom) * (high - low), step: px => from + (px - left) / (width - left - right) * (to - from)}
}

/** Lets a pointer draw on a canvas: `drawn([x, y] of each point, in CSS pixels)` when it is lifted. */
function drawable(canvas, drawn) {
  let points = null
  const at = e => { const box = canvas.getBoundingClientRect(); return [e.clientX - box.x, e.clientY - box.y] }
  canvas.style.touchAction = "none"
  canvas.style.cursor = "crosshair"
  canvas.addEventListener("pointerdown", e => { points = [at(e)]; canvas.setPointerCapture(e.pointerId) })
  canvas.addEventListener("pointermove", e => {
    if (!points) return
    const g = canvas.getContext("2d"), [x, y] = at(e)
    g.strokeStyle = `rgb(${colour("accent")})`
    g.setLineDash([])
    g.beginPath()
    g.moveTo(...points.at(-1))
    g.lineTo(x, y)
    g.stroke()
    points.push([x, y])
  })
  canvas.addEventListener("pointerup", () => {
    if (points?.length > 1) drawn(points)
    points = null
  })
}

/** Of a curve of points, its heights at `count` places from its left to its right. */
function resampled(points, count) {
  const sorted = [...points].sort((a, b) => a[0] - b[0]), [first, last] = [sorted[0][0], sorted.at(-1)[0]]
  let k = 0
  return Array.from({length: count}, (_, i) => {
    const x = first + (last - first) * i / Math.max(1, count - 1)
    while (k + 2 < sorted.length && sorted[k + 1][0] < x) k++
    const [a, b] = [sorted[k], sorted[k + 1]], part = b[0] > a[0] ? (x - a[0]) / (b[0] - a[0]) : 0
    return a[1] + (b[1] - a[1]) * Math.min(1, Math.max(0, part))
  })
}
