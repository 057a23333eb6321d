//go:build !manual

package main

import "github.com/spf13/cobra"

// addManual adds nothing: see manual_on.go.
func addManual(*cobra.Command) {}
