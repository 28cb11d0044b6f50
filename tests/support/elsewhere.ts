// `npm test` runs some files once more, on another server, and then sets SHORT. Tests that depend
// little on the server are skipped there. `npm run test:servers` skips nothing.

/** The reason to skip such a test, or false. */
export const elsewhere = process.env['SHORT'] === '1' && 'depends little on the server'
