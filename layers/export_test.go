package layers

// Started is started, for the tests outside the package.
var Started = started
