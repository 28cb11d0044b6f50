// The key that verifies tokens, from the setting that names it. Invariant: the setting fixes the
// algorithm, and the token never does, so a public key is never used as a secret (HS/RS confusion).
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import type { CryptoKey, JWTHeaderParameters } from 'jose'

export type Keys = {
  /** The only algorithms that a token may name. */
  readonly algorithms: readonly string[]
  /**
   * The keys that may have signed a token with this header: one, or several if the header does not
   * tell them apart.
   */
  readonly candidatesFor: (
    header: Partial<JWTHeaderParameters>
  ) => readonly Candidate[] | Promise<readonly Candidate[]>
  /** Whether the key that signed a token is still there. */
  readonly isCurrent: (signer: string | undefined) => boolean
}

export type Candidate = {
  readonly key: CryptoKey | KeyObject
  /** Identifies the key. Undefined if keys cannot disappear. */
  readonly signer: string | undefined
}

/** A secret must not be shorter than the hash (RFC 7518, section 3.2). */
const SECRET_BYTES_MIN = 32

export class KeyError extends Error {}

/** @throws KeyError that quotes nothing of the secret */
export function secretKeys(secret: string): Keys {
  if (Buffer.byteLength(secret) < SECRET_BYTES_MIN) {
    throw new KeyError(
      `must have at least ${SECRET_BYTES_MIN} bytes, for example from openssl rand -base64 48`
    )
  }
  // With a public key as the secret, everybody could sign tokens.
  if (secret.includes('-----BEGIN')) {
    throw new KeyError('must not be a key file: use AUTH_JWT_PUBLIC_KEY for a public key')
  }
  return fixed(['HS256'], createSecretKey(secret, 'utf8'))
}

/**
 * @param pem an RSA (RS256), P-256, P-384 or P-521 (ES256, ES384, ES512) or Ed25519 key (EdDSA)
 * @throws KeyError
 */
export function publicKeys(pem: string): Keys {
  // createPublicKey also accepts a private key and derives the public one from it.
  if (!pem.includes('-----BEGIN PUBLIC KEY-----') || pem.includes('PRIVATE')) {
    throw new KeyError(
      'must name a file with a PEM public key (BEGIN PUBLIC KEY), and nothing else'
    )
  }
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch {
    throw new KeyError('must name a file with a PEM public key that can be read')
  }
  const algorithms = algorithmsOf(key)
  if (algorithms === undefined) {
    throw new KeyError(
      'must be an RSA key of at least 2048 bits, a P-256, P-384, P-521 or an Ed25519 key'
    )
  }
  return fixed(algorithms, key)
}

function algorithmsOf({
  asymmetricKeyType,
  asymmetricKeyDetails
}: KeyObject): string[] | undefined {
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048) {
    return ['RS256']
  }
  if (asymmetricKeyType === 'ed25519') return ['EdDSA', 'Ed25519']
  const byCurve = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
  const algorithm = byCurve[asymmetricKeyDetails?.namedCurve as keyof typeof byCurve]
  return algorithm === undefined ? undefined : [algorithm]
}

const fixed = (algorithms: readonly string[], key: KeyObject): Keys => ({
  algorithms,
  candidatesFor: () => [{ key, signer: undefined }],
  isCurrent: () => true
})
