// Where the installed files are. At run time this module is dist/src/places.js, or a part of one of
// the bundles in dist/service/ (bundle.mjs): both folders are two levels below the package. No
// other module may depend on where it is itself, because bundling moves it.

/** The folder of package.json. */
export const PACKAGE = new URL('../../', import.meta.url)

/** The folder of main.js. */
export const PROGRAMS = new URL('./', import.meta.url)
