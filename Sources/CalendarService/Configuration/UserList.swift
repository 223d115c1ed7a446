import CalendarTime
import Diagnostics
import FoundationEssentials
import LinkedService
import ServiceRuntime
import Synchronization
import WireText

/// Somebody whose calendars the connector looks after.
struct ConnectedUser: Sendable, Hashable {
    /// The id that the cloud and the KMS know.
    let id: String
    let address: String
    /// Other addresses of the same person.
    let aliases: [String]
    let backend: String
    /// With a backend of mode per-user.
    let login: String?
    let secret: SecretLocation?
    let timeZone: String?
    let languages: [String]

    var addresses: [String] { [address] + aliases }
}

/// The users, from a JSON file: `{"users": [{"id", "email", "aliases"?, "backend"?, "login"?, "secret"?, "timeZone"?, "languages"?}]}`.
struct UserList: Sendable {
    static let most = 200_000
    let users: [String: ConnectedUser]
    /// User ids by address in lower case.
    private let ids: [String: String]

    init(_ octets: [UInt8], backends: [String], folder: String) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 8_000_000, maximumBytes: 128 << 20)
        guard let list = (try? JSONDocument(octets, limits: limits))?.root["users"]?.elements else {
            throw Self.malformed("no JSON object with a list users")
        }
        guard list.count <= Self.most else { throw Self.malformed("more than \(Self.most) users") }
        var users: [String: ConnectedUser] = [:], ids: [String: String] = [:]
        for (number, node) in list.enumerated() {
            let place = "entry \(number + 1)"
            guard let id = node["id"]?.string, !id.isEmpty, id.utf8.count <= 128 else {
                throw Self.malformed("\(place) without an id")
            }
            guard let address = node["email"]?.string, address.contains("@"), address.utf8.count <= 320 else {
                throw Self.malformed("\(place) without an email")
            }
            let backend = node["backend"]?.string ?? backends.first ?? ""
            guard backends.contains(backend) else { throw Self.malformed("\(place) names a backend that is not there") }
            if let zone = node["timeZone"]?.string, ZoneCatalogue.system.rules(named: zone) == nil {
                throw Self.malformed("\(place) has a time zone that is not known")
            }
            let user = ConnectedUser(
                id: id, address: address, aliases: node["aliases"]?.strings ?? [], backend: backend,
                login: node["login"]?.string,
                secret: node["secret"]?.string.flatMap { SecretLocation(configurationText: $0, folder: folder) },
                timeZone: node["timeZone"]?.string, languages: node["languages"]?.strings ?? [])
            guard users.updateValue(user, forKey: id) == nil else { throw Self.malformed("\(place) is there twice") }
            for address in user.addresses {
                guard ids.updateValue(id, forKey: address.lowercased()) ?? id == id else {
                    throw Self.malformed("\(place) has the address of another user")
                }
            }
        }
        (self.users, self.ids) = (users, ids)
    }

    func id(of address: String) -> String? { ids[address.lowercased()] }

    private static func malformed(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .calendarUsers, fault: .configuration, "the list of calendar users can not be used",
            expected: #"{"users": [{"id", "email", "backend"}]}, no person and no address twice"#, found: found)
    }
}

/// The list that counts, read anew when its file changes; a file that can not be used leaves the one before in force.
final class UsersInForce: Sendable {
    private struct State {
        var list: UserList
        var octets: [UInt8]
    }

    private let path: String
    private let backends: [String]
    private let state: Mutex<State>

    init(_ location: FileLocation, backends: [String]) throws {
        path = location.path
        self.backends = backends
        let octets = try Self.read(path)
        state = Mutex(State(list: try UserList(octets, backends: backends, folder: path.folder), octets: octets))
    }

    /// A list that stays.
    init(_ list: UserList) {
        (path, backends) = ("", [])
        state = Mutex(State(list: list, octets: []))
    }

    var list: UserList { state.withLock { $0.list } }

    /// True when there is another list now.
    func refresh() throws -> Bool {
        let octets = try Self.read(path)
        guard octets != state.withLock({ $0.octets }) else { return false }
        let list = try UserList(octets, backends: backends, folder: path.folder)
        state.withLock { $0 = State(list: list, octets: octets) }
        return true
    }

    private static func read(_ path: String) throws -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw DiagnosedError(
                .calendarUsers, fault: .configuration, "the list of calendar users can not be read", found: path,
                hint: "check users: the file exists and the service's user may read it")
        }
        return [UInt8](data)
    }
}

extension DiagnosedError.Code {
    static let calendarUsers: Self = "calendar-users"
}
