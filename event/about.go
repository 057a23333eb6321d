package event

import "net/netip"

// Role is what a host is for, by the site's inventory.
type Role uint8

const (
	RoleNone        Role = iota
	RoleScanner          // looks for hosts and ports by order
	RoleMonitoring       // asks others how they are, on a timer
	RoleBackup           // moves large amounts of data by order
	RoleResolver         // asks DNS for others
	RoleServer           // is there for others
	RoleWorkstation      // is there for a person
)

// RoleNames are the roles' names, in their order; that of none is "".
var RoleNames = [...]string{"", "scanner", "monitoring", "backup", "resolver", "server", "workstation"}

// String returns the role's name, "" for none.
func (r Role) String() string { return RoleNames[int(r)%len(RoleNames)] }

// Criticality is how much depends on a host.
type Criticality uint8

const (
	CriticalityNone Criticality = iota // nobody has said
	CriticalityLow
	CriticalityMedium
	CriticalityHigh
	CriticalityCritical
)

// CriticalityNames are their names, in their order; that of none is "".
var CriticalityNames = [...]string{"", "low", "medium", "high", "critical"}

// String returns the criticality's name, "" for none.
func (c Criticality) String() string { return CriticalityNames[int(c)%len(CriticalityNames)] }

// Asset is one entry of the site's inventory. It is not changed once it is loaded.
type Asset struct {
	Name, Owner string
	Role        Role
	Criticality Criticality
	// Entity is the first of several addresses of one host, under which the host is known;
	// not valid if the inventory gives it one alone, or a network.
	Entity netip.Addr
}

// Service is whose network an address is in, by what its provider publishes.
type Service struct {
	Provider, Name, Region string // Name and Region are "" if the provider says none
}

// Indicator is a value that threat intelligence lists, and that was met.
type Indicator struct {
	Type        string // as ECS threat.indicator.type: ipv4-addr, domain-name, url, file, ...
	Value       string // as it is listed; what was met may be below it
	Field       string // where it was met, by its ECS name
	Provider    string // the list
	Description string
	TLP         string // CLEAR to RED; "" if unknown
	Confidence  int    // 0 to 100; below 0 if the list says none
	FirstSeen   int64  // Unix nanoseconds; 0 if unknown
}

// ConfidenceName returns the confidence in ECS's words, by the STIX scale.
func (i *Indicator) ConfidenceName() string {
	switch {
	case i.Confidence < 0:
		return "Not Specified"
	case i.Confidence == 0:
		return "None"
	case i.Confidence < 30:
		return "Low"
	case i.Confidence < 70:
		return "Medium"
	}
	return "High"
}

// About is what is known of an address from elsewhere than the logs of its traffic. It is
// not changed once it is made, and outlives the event that points to it.
type About struct {
	Asset *Asset // nil if the inventory has none
	// Name is what the host calls itself: by DHCP, within its lease; "" if unknown.
	Name    string
	Network string   // what the site calls the network that it is in; "" if it has no name
	Service *Service // nil if nobody has said
	Geo     *Geo     // nil if no database has it
}

// HostName returns what people call the end: by the inventory, or by itself.
func (a *About) HostName() string {
	switch {
	case a == nil:
		return ""
	case a.Asset != nil && a.Asset.Name != "":
		return a.Asset.Name
	}
	return a.Name
}
