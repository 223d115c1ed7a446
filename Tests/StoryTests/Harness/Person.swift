import Diagnostics
import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import WireText

/// Somebody with a device of its own: a state folder, and the client library on it.
final class Person: Sendable {
    let name: String
    let email: String
    let store: StateStore
    let client: Client

    /// Logs in on a fresh state folder.
    ///
    /// - Parameter password: nil for the people that every domain has.
    static func logIn(
        _ name: String, in deployment: Deployment, device: String = "first", password: String? = nil
    ) async throws -> Person {
        let store = try StateStore.open(folder: deployment.domain.path("home-\(name)-\(device)")) { nil }
        let login = Login(store)
        try login.pin(try deployment.profile())
        let email = name + "@" + deployment.domain["mail_domain"]
        _ = try await login.logIn(
            email: email, proof: .password(Redacted(password ?? deployment.domain.password(of: name))))
        return Person(name: name, email: email, store: store, client: try await Client.connect(store))
    }

    /// Logs in with a browser, which `walk` is: it gets the address to open and has to lead back to the client.
    static func logInAtProvider(
        _ name: String, in deployment: Deployment, walk: @escaping @Sendable (_ url: String, _ email: String) -> Void
    ) async throws -> Person {
        let store = try StateStore.open(folder: deployment.domain.path("home-\(name)-provider")) { nil }
        let login = Login(store)
        try login.pin(try deployment.profile())
        let email = name + "@" + deployment.domain["mail_domain"]
        _ = try await login.logIn(email: email, proof: .browser(show: { walk($0, email) }))
        return Person(name: name, email: email, store: store, client: try await Client.connect(store))
    }

    private init(name: String, email: String, store: StateStore, client: Client) {
        self.name = name
        self.email = email
        self.store = store
        self.client = client
    }

    var spaces: Spaces { client.spaces }
    var id: String { client.account.id }

    func close() async { await client.close() }

    /// URI of the session that is kept, which a client changes only by a new handshake.
    func sessionURI() throws -> String? { try store.current().session?.uri }

    /// The keys of a space that this device knows.
    func keyURIs(of space: Space) throws -> Set<String> {
        Set(try store.current().keys.values.filter { $0.resourceURI == space.resource }.map(\.uri))
    }

    /// All entries of a space, oldest first.
    func entries(of space: Space) async throws -> [SpaceEntry] {
        var entries: [SpaceEntry] = []
        var since: Int64 = 0
        while true {
            let page = try await spaces.page(of: space, since: since)
            entries += page.entries
            guard let next = page.next else { return entries }
            since = next
        }
    }

    func texts(of space: Space) async throws -> [String] {
        try await entries(of: space).compactMap { if case .text(let text) = $0.content { text } else { nil } }
    }
}
