// Turns a token into its caller. Invariant: there is a caller only if the token's signature,
// algorithm, times, audience and issuer were checked, and only until the token expires or its key
// disappears. Verified tokens are remembered while they are valid, so the next request with the
// same token costs one look into a map. Bad tokens are not remembered, so nobody can fill the map
// with them. Web Crypto compares signatures in constant time. No error quotes a token.
import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import { DialogsError } from '../errors.js'
import { ClaimError, readClaims, TokenCaller } from './claims.js'
import { type Candidate, type Keys } from './keys.js'
import { type Members } from './members.js'

export type TokensOptions = {
  readonly keys: Keys
  readonly members: Members
  /** Empty: any. */
  readonly audience: string
  /** Empty: any. */
  readonly issuer: string
  /** Verified tokens that are remembered. */
  readonly rememberedMax: number
}

/** How far the clocks of the issuer and this process may differ. */
export const SKEW_S = 30
/** A longer token is refused without being parsed. */
export const TOKEN_LENGTH_MAX = 8192

export class Tokens {
  readonly #options: TokensOptions
  readonly #callers = new Map<string, TokenCaller>()

  constructor(options: TokensOptions) {
    this.#options = options
  }

  /**
   * The caller of a token. A promise if the token is not remembered and must be verified.
   * @throws DialogsError UNAUTHENTICATED, TOKEN_EXPIRED, KEYS_UNAVAILABLE, at once or later
   */
  callerOf(token: string): TokenCaller | Promise<TokenCaller> {
    const known = this.#callers.get(token)
    if (known === undefined) return this.#verify(token)
    if (known.expiresAtMs > Date.now()) return known
    this.#callers.delete(token)
    throw expired()
  }

  /** Forgets the tokens whose keys have disappeared. */
  keysChanged(): void {
    for (const [token, { signedBy }] of this.#callers) {
      if (!this.#options.keys.isCurrent(signedBy)) this.#callers.delete(token)
    }
  }

  async #verify(token: string): Promise<TokenCaller> {
    const { keys, members } = this.#options
    if (token.length > TOKEN_LENGTH_MAX) {
      throw refused(`is longer than ${TOKEN_LENGTH_MAX} characters`)
    }
    try {
      const header = decodeProtectedHeader(token)
      // Before a key is looked for, which may mean to ask the issuer for its keys.
      if (!keys.algorithms.includes(header.alg ?? '')) throw new errors.JOSEAlgNotAllowed()
      const { payload, signer } = await this.#payloadOf(token, await keys.candidatesFor(header))
      // It may have gone during the verification.
      if (!keys.isCurrent(signer)) throw new errors.JWKSNoMatchingKey()
      // `exp` is required, and jose checks its type. JSON has numbers that become Infinity.
      const expiresAtMs = (Number(payload.exp) + SKEW_S) * 1000
      if (!Number.isFinite(expiresAtMs)) throw refused(NO_EXPIRY)
      const caller = new TokenCaller(readClaims(payload), {
        expiresAtMs,
        signedBy: signer,
        members
      })
      this.#remember(token, caller)
      return caller
    } catch (error) {
      throw translate(error)
    }
  }

  /** The checked payload, and the key that signed it: the first one whose signature is right. */
  async #payloadOf(
    token: string,
    candidates: readonly Candidate[]
  ): Promise<{ readonly payload: JWTPayload; readonly signer: string | undefined }> {
    const { keys, audience, issuer } = this.#options
    for (const { key, signer } of candidates) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [...keys.algorithms],
          currentDate: new Date(Date.now()),
          clockTolerance: SKEW_S,
          requiredClaims: ['exp'],
          ...(audience === '' ? {} : { audience }),
          ...(issuer === '' ? {} : { issuer })
        })
        return { payload, signer }
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }

  // Drops the oldest token. Reordering the map at each use would cost more than verifying one again
  // now and then.
  #remember(token: string, caller: TokenCaller): void {
    if (this.#callers.size >= this.#options.rememberedMax) {
      const [oldest] = this.#callers.keys()
      if (oldest !== undefined) this.#callers.delete(oldest)
    }
    this.#callers.set(token, caller)
  }
}

const NO_EXPIRY = 'does not say when it expires: give it exp, in seconds'

const expired = (): DialogsError =>
  new DialogsError('TOKEN_EXPIRED', 'The token has expired: get a new one.')

const refused = (why: string): DialogsError =>
  new DialogsError('UNAUTHENTICATED', `The token ${why}.`)

function translate(error: unknown): unknown {
  if (error instanceof DialogsError) return error
  if (error instanceof errors.JWTExpired) return expired()
  if (error instanceof ClaimError) return refused(`has a wrong claim: ${error.message}`)
  if (error instanceof errors.JWTClaimValidationFailed) {
    switch (error.claim) {
      case 'aud':
        return refused('is for another audience, or names none: see AUTH_AUDIENCE')
      case 'iss':
        return refused('is from another issuer, or names none: see AUTH_ISSUER')
      case 'nbf':
        return refused('is not valid yet, or its nbf is not in seconds')
      case 'exp':
        return refused(NO_EXPIRY)
      default:
        return refused(`has a wrong claim: ${error.claim}`)
    }
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return refused('is signed by an algorithm that is not accepted here')
  }
  if (error instanceof errors.JOSEError || error instanceof TypeError) {
    return refused('is not accepted: it is malformed, or signed by another key')
  }
  return error
}
