import TestServers

/// The hosts of all drills: clients (this process), a core, and the customer's own.
struct DrillNetwork: Sendable {
    let clients: NetworkPlace
    let core: NetworkPlace
    let auth: NetworkPlace
    let proxy: NetworkPlace
    let names: NetworkPlace
    let nodes: [NetworkPlace]
    let databases: [NetworkPlace]
    let wire: Wire

    static let shared = Result { try DrillNetwork() }

    private init() throws {
        clients = try NetworkPlace("clients.example.com", 1, isHere: true)
        core = try NetworkPlace("core.example.net", 2)
        auth = try NetworkPlace("auth.example.com", 3)
        proxy = try NetworkPlace("proxy.example.com", 4)
        names = try NetworkPlace("names.example.com", 53)
        nodes = try (1...3).map { try NetworkPlace("kms-\($0).example.com", 10 + UInt8($0)) }
        databases = try (1...2).map { try NetworkPlace("db-\($0).example.com", 20 + UInt8($0)) }
        let all = [clients, core, auth, proxy, names] + nodes + databases
        wire = Wire(all)
        _ = try NameServer(all, at: names)
    }
}
