"""The Flask extensions, made once and bound to an app by `create_app()`."""

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy_lite import SQLAlchemy
from flask_wtf import CSRFProtect

from app.database import Base

db = SQLAlchemy()
db.metadata = Base.metadata  # type: ignore[attr-defined]  # Flask-Migrate looks for it here
migrate = Migrate()
login = LoginManager()
csrf = CSRFProtect()
