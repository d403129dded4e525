// What a classifier of sequences of numbers reads: as `Features` of tinyrnn/tasks/signals/features.py makes it.
const single = data.channels.length === 1

function features(sequence) {
  const {deltas, joined, mean, deviation} = data.features, at = t => sequence[Math.min(Math.max(t, 0), sequence.length - 1)]
  const rows = sequence.map((row, t) => {
    const all = deltas ? [...row, ...row.map((_, k) => (at(t + 1)[k] - at(t - 1)[k]) / 2)] : row
    return all.map((v, k) => (v - mean[k]) / deviation[k])
  })
  while (rows.length % joined) rows.push(rows.at(-1))
  return Float32Array.from(rows.flat())
}

let sequence = []
function reading(text) {
  const {rows, told, fault} = parsed(text, data.channels.length)
  sequence = rows
  show_lines()
  return rows.length ? {inputs: {features: features(rows)}, told} : {told: fault ?? told, fault: true}
}

function show_lines() {
  const colours = lineColours()
  const shown = data.channels.slice(0, colours.length)
  const lines = shown.map((_, k) => ({values: sequence.map(row => row[k]), colour: colours[k], at: 0}))
  if (!single) {
    $("lines").replaceChildren(...shown.flatMap((name, k) => {
      const mark = make("span", {textContent: "■ "})
      mark.style.color = colours[k]
      return [mark, `${name}  `]
    }), shown.length < data.channels.length ? `and ${data.channels.length - shown.length} more, which are read but not shown` : "")
  }
  scale = plot($("plot"), lines, {from: 0, to: Math.max(sequence.length - 1, 1)})
}
let scale
redraws.push(show_lines)
if (single) {
  drawable($("plot"), points => {
    const values = resampled(points, data.steps).map(y => scale.value(y))
    $("input").value = values.map(v => +v.toPrecision(5)).join("\n")
    $("input").dispatchEvent(new Event("input"))
  })
}
$("file").onchange = async () => {
  const [file] = $("file").files
  if (!file) return
  $("input").value = await file.text()
  $("input").dispatchEvent(new Event("input"))
}
