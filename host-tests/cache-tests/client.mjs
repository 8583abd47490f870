// Runs the suite against the cache at the URL of the second argument; the first is where the suite is. Prints for each
// test its kind (required, optimal or check), whether it passed, and why not, as JSON.
//
// A test that builds on others passes only if those do, as the suite's own reports have it.
const [suite, base] = process.argv.slice(2)
const { default: fetch } = await import(`${suite}/../node-fetch/lib/index.mjs`)
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`)
const { default: suites } = await import(`${suite}/tests/index.mjs`)
const { default: surrogate } = await import(`${suite}/tests/surrogate-control.mjs`)

const all = [...suites, surrogate]
await runTests(all, fetch, false, base)
const results = getResults()
const tests = new Map(all.flatMap(suite => suite.tests).map(test => [test.id, test]))

function passes (id) {
  return results[id] === true && (tests.get(id).depends_on ?? []).every(passes)
}

function reason (id) {
  if (passes(id)) return null
  return results[id] === true ? 'A test that it builds on fails' : results[id].join(': ')
}

const report = Object.keys(results).map(id => [id, {
  kind: tests.get(id).kind ?? 'required',
  passed: passes(id),
  reason: reason(id)
}])
console.log(JSON.stringify(Object.fromEntries(report), null, 1))
process.exit(0)
