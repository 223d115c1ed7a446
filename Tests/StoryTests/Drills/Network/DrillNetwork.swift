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
    /// A machine on which nothing is at first.
    let spare: NetworkPlace
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
        spare = try NetworkPlace("spare.example.com", 31)
        let all = [clients, core, auth, proxy, names, spare] + nodes + databases
        wire = Wire(all)
        _ = try NameServer(all, at: names)
    }

    /// Those that people name, by the first part of their names.
    var hosts: [(name: String, place: NetworkPlace)] {
        ([clients, core, auth, spare] + nodes + databases).map { place in
            (String(place.name.prefix { $0 != "." }), place)
        }
    }

    func place(_ name: some StringProtocol) throws -> NetworkPlace {
        guard let host = hosts.first(where: { $0.name == name }) else {
            throw NotInTime(what: "a host \(name)", limit: .zero, seen: nil)
        }
        return host.place
    }

    /// Connections that nodes began: the most of one node since a moment, and the most of one within a second.
    func openings(to place: NetworkPlace, since moment: ContinuousClock.Instant) -> (inAll: Int, inASecond: Int) {
        let openings = wire.openings(to: place, since: moment)
        let perNode = nodes.map { node in openings.filter { $0.from == node.number } }
        let inASecond = perNode.flatMap { openings in
            openings.map { first in openings.count { $0.at >= first.at && first.at.duration(to: $0.at) < .seconds(1) } }
        }
        return (perNode.map(\.count).max() ?? 0, inASecond.max() ?? 0)
    }
}
