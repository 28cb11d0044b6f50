// Shows the description of the interface in Swagger UI, which is loaded before this file and
// contacts no other host.
type Viewer = (options: {
  url: string
  domNode: Element | null
  validatorUrl: null
  deepLinking: boolean
  queryConfigEnabled: boolean
}) => void

// Declared by swagger-ui-bundle.js as a global.
const { SwaggerUIBundle: show } = window as unknown as { readonly SwaggerUIBundle: Viewer }

show({
  url: '../openapi.json',
  domNode: document.querySelector('#docs'),
  validatorUrl: null,
  deepLinking: true,
  queryConfigEnabled: false
})

export {}
