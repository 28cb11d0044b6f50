// One figure of a service's /metrics (Prometheus text format).

/** The value of a metric without labels, or with exactly the given ones; 0 if there is none. */
export async function readMetric(
  url: string,
  name: string,
  headers: Readonly<Record<string, string>> = {}
): Promise<number> {
  const answer = await fetch(`${url}/metrics`, { headers })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url}/metrics is answered ${answer.status}: ${text}`)
  const line = text.split('\n').find(line => line.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}
