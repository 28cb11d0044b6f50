// All paths with the methods that each takes, for 405 and OPTIONS answers.
import { type FastifyInstance } from 'fastify'

/** Paths as they are registered, such as /rooms/:room/messages, with their methods. */
export type KnownRoutes = ReadonlyMap<string, ReadonlySet<string>>

/** Collects the routes registered after this call. */
export function collectRoutes(app: FastifyInstance): KnownRoutes {
  const routes = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = routes.get(url) ?? new Set()
    for (const each of [method].flat()) methods.add(each)
    routes.set(url, methods)
  })
  return routes
}

/**
 * The methods of a path, in alphabetical order; none if there is no such path. `*` stands for the
 * whole service.
 */
export function allowedMethods(routes: KnownRoutes, path: string): string[] {
  const segments = path.split('/')
  const matching = [...routes].filter(
    ([pattern]) => path === '*' || matches(pattern.split('/'), segments)
  )
  return [...new Set(matching.flatMap(([, methods]) => [...methods]))].sort()
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.at(-1) === '*') {
    return (
      segments.length >= pattern.length &&
      pattern.slice(0, -1).every((part, index) => part === segments[index])
    )
  }
  return (
    pattern.length === segments.length &&
    pattern.every((part, index) => part.startsWith(':') || part === segments[index])
  )
}
