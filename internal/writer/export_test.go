package writer

// CheckName is the check of store names that come over the link.
var CheckName = checkName
