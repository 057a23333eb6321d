// Command install fetches the servers of the tests that no package of the system
// has.
package main

import (
	"fmt"
	"os"

	"tidewatch/internal/servers"
)

func main() {
	for _, install := range []func() error{servers.InstallElasticsearch, servers.InstallOpenSearch} {
		if err := install(); err != nil {
			fmt.Fprintln(os.Stderr, "install:", err)
			os.Exit(1)
		}
	}
}
