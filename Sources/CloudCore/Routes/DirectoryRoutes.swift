import Hummingbird
import WireText

/// Users of the caller's own organisation, by address or id.
struct DirectoryRoutes {
    let services: CoreServices

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.get("directory/users") { request, context -> Response in
            let organisation = try context.user().organisation
            let query = request.uri.queryParameters
            let user: UserRecord?
            if let email = query["email"].map(String.init), email.utf8.count <= 320 {
                user = try await services.store.user(organisation: organisation, email: email)
            } else if let id = query["id"], UUIDText.isValid(id) {
                user = try await services.store.user(UserKey(organisation: organisation, user: id.lowercased()))
            } else {
                throw Refusal(.badRequest, "email or id is missing: expected ?email=NAME@DOMAIN or ?id=UUID")
            }
            guard let user else {
                throw Refusal(.notFound, "nobody of that name is known here: users become known when they first log in")
            }
            return .json { json in
                json.member("id", user.id)
                json.member("email", user.email)
                json.member("name", user.name)
            }
        }
    }
}
