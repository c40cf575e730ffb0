package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker; a module's own version stands in.
var version = ""

// versionCmd is potstill version.
type versionCmd struct{ jsonFlag }

// Help is printed below the flags' summary.
func (versionCmd) Help() string {
	return `Example:

    potstill version`
}

// versionInfo is the JSON form.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// theVersion returns the program's version.
func theVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// thisVersion describes the program.
func thisVersion() versionInfo {
	return versionInfo{Version: theVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

// String is the line that version and --version print.
func (v versionInfo) String() string {
	return fmt.Sprintf("potstill %s (%s, %s)", v.Version, v.Go, v.Platform)
}

// Run prints the version.
func (c *versionCmd) Run(a *app) error {
	if c.JSON {
		return printJSON(a.out, thisVersion())
	}
	_, err := fmt.Fprintln(a.out, thisVersion())
	return err
}
