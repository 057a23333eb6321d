package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tidewatch/internal/strict"
	"tidewatch/outputs"
	"tidewatch/outputs/kibana"
)

// kibanaFlags are the flags of setup kibana, as they are written.
type kibanaFlags struct {
	cfg    kibana.Config
	print  bool
	output string
}

func setupKibanaCommand(t terminal) *cobra.Command {
	f := kibanaFlags{cfg: kibana.Default()}
	c := &cobra.Command{
		Use:   "kibana",
		Short: "Make the data views, saved searches and dashboards",
		Long: `Make what shows findings in Kibana: data views, saved searches, and dashboards with
links from a finding to its records, to the host and to ATT&CK. It says what it changed,
and may be run again at any time, as after an upgrade; what was changed in its objects by
hand is then replaced.

The password of --username is read from the environment variable
TIDEWATCH_SETUP_PASSWORD; instead of both, TIDEWATCH_SETUP_API_KEY may hold an API key.`,
		Example: `  TIDEWATCH_SETUP_PASSWORD=… tidewatch setup kibana -a https://kibana:5601 -u elastic --ca-file ca.crt
  tidewatch setup kibana --output tidewatch.ndjson   # for Stack Management, Saved Objects, Import`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, t) },
	}
	p := c.Flags()
	p.StringVarP(&f.cfg.Address, "address", "a", f.cfg.Address, "URL of Kibana")
	p.StringVar(&f.cfg.Space, "space", "", "space that gets the objects (default: the default one)")
	p.StringVarP(&f.cfg.Username, "username", "u", "", "user who may manage saved objects")
	p.StringVar(&f.cfg.CAFile, "ca-file", "", "certificates, in PEM, of which one has signed the server's")
	p.StringVar(&f.cfg.CAFingerprint, "ca-fingerprint", "", "SHA-256 of a certificate that the server must present")
	p.StringVar(&f.cfg.Proxy, "proxy", "", `URL of a proxy, or "none"`)
	p.BoolVar(&f.print, "print", false, "print the objects, as NDJSON, instead of sending them")
	p.StringVar(&f.output, "output", "", "write them to this `file`, whose name must end in .ndjson, instead of sending them")
	return c
}

func (f *kibanaFlags) run(c *cobra.Command, t terminal) error {
	f.cfg.Password = strict.NewSecret(os.Getenv("TIDEWATCH_SETUP_PASSWORD"))
	f.cfg.APIKey = strict.NewSecret(os.Getenv("TIDEWATCH_SETUP_API_KEY"))
	switch {
	case f.print && f.output != "":
		return exit{exitUsage, errors.New("--print or --output")}
	case f.output != "" && !strings.HasSuffix(f.output, ".ndjson"):
		return exit{exitUsage, fmt.Errorf("--output %q: Kibana imports files whose names end in .ndjson", f.output)}
	}
	if f.print || f.output != "" {
		return f.write(t)
	}
	if err := f.cfg.Validate(); err != nil {
		return exit{exitUsage, err}
	}
	changes, err := kibana.Setup(c.Context(), &f.cfg)
	for _, ch := range changes {
		fmt.Fprintln(t.out, outputs.Printable(ch.String()))
	}
	if err != nil {
		return exit{exitError, err}
	}
	return nil
}

// write writes the objects for those who import them by hand.
func (f *kibanaFlags) write(t terminal) error {
	objects, err := kibana.NDJSON(f.cfg.Space)
	if err != nil {
		return exit{exitUsage, err}
	}
	if f.print {
		_, err = t.out.Write(objects)
	} else {
		err = os.WriteFile(f.output, objects, 0o644)
	}
	if err != nil {
		return exit{exitError, err}
	}
	return nil
}
