// A classifier's page: what it says changes with what is typed. `reading` says what it reads of that.
const SHOWN = 20
let busy = false, waiting = false, said = ""
if (data.labels.length > SHOWN) $("label-title").append(`: the ${SHOWN} most probable of ${data.labels.length}`)

/** Nothing is said. */
function blank() {
  $("label").textContent = "–"
  $("status").textContent = ""
  bars($("bars"), data.labels.slice(0, SHOWN).map(label => [label, 0, false]))
  for (const row of $("bars").children) row.lastChild.textContent = ""
}

function show(probabilities) {
  const named = data.labels.map((label, i) => [label, probabilities[i], data.thresholds ? probabilities[i] >= data.thresholds[i] : false])
  const most = named.reduce((a, b) => b[1] > a[1] ? b : a)
  if (!data.thresholds) most[2] = true
  const chosen = named.filter(row => row[2])
  $("label").textContent = chosen.map(row => row[0]).join(", ") || "none of the labels"
  const rows = named.length > SHOWN ? named.sort((a, b) => b[1] - a[1]).slice(0, SHOWN) : named
  bars($("bars"), rows)
  said = chosen.length ? chosen.map(([label, p]) => `${label}, ${percent(p)}`).join("; ") : "None of the labels"
}

function classify() {
  if (busy) { waiting = true; return }
  const text = $("input").value
  if (!text.trim()) {
    $("told").textContent = ""
    reading("")
    blank()
    return
  }
  const {inputs, told, fault} = reading(text)
  if ($("told").textContent !== told) $("told").textContent = told
  if (fault) { blank(); return }
  busy = true
  start({job: "classify", ...inputs}, message => {
    busy = false
    show(message.probabilities)
    if (waiting) { waiting = false; classify() }
  })
}

let pause
$("input").oninput = () => {
  classify()
  clearTimeout(pause) // a reader of the screen is told once typing rests
  pause = setTimeout(() => { if ($("input").value.trim()) $("status").textContent = said }, 800)
}
$("form").onsubmit = e => e.preventDefault()
classify()
