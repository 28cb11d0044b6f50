// The password that connections log in with, which may change while the service runs.

export type Password = string | PasswordSource

export type PasswordSource = {
  /** The password for a connection that is opened now. */
  readonly current: () => Promise<string>
  /**
   * The password to try instead of one that Redis has just refused; the same one if there is no
   * other.
   */
  readonly insteadOf: (refused: string) => Promise<string>
}

/** The password for a connection that is opened now. */
export async function currentPassword(password: Password | undefined): Promise<string | undefined> {
  return typeof password === 'object' ? await password.current() : password
}
