// Makes a token as the application beside the service would: HS256, with the claims that the
// service reads.
import { SignJWT } from 'jose'

export type NewToken = {
  /** Left out for an operator's program, with `admin`. */
  readonly user?: string | undefined
  readonly read?: readonly string[] | undefined
  readonly write?: readonly string[] | undefined
  readonly isAdmin?: boolean | undefined
  readonly ttlS: number
  readonly audience?: string | undefined
  readonly issuer?: string | undefined
}

export async function signToken(
  secret: string,
  { user, read = [], write = [], isAdmin = false, ttlS, audience, issuer }: NewToken
): Promise<string> {
  const token = new SignJWT({ dialogs: { read, write, ...(isAdmin ? { admin: true } : {}) } })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setExpirationTime(Math.floor(Date.now() / 1000) + ttlS)
  if (user !== undefined) token.setSubject(user)
  if (audience !== undefined && audience !== '') token.setAudience(audience)
  if (issuer !== undefined && issuer !== '') token.setIssuer(issuer)
  return await token.sign(new TextEncoder().encode(secret))
}
